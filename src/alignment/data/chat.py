"""Messages to text by the chat template: what of the text is prompt, and what is completion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from alignment.data.pairs import RowFault
from alignment.errors import DataError, Fault, sentence_of
from alignment.recipe.chat_templates import shipped_templates
from alignment.recipe.template_limits import OutOfTime, bounded

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from alignment.data.pairs import Message, Pair

Tools = Sequence[Mapping[str, Any]]
"""What an assistant may call, as JSON schemas."""

REFUSED = "refused by the chat template"
UNBOUNDED = "chat template without end"
SPLIT = "prompt and answer not told apart by the chat template"
"""Reasons of row faults."""

GROWTH = 100
SMALLEST_LIMIT = 1_000_000
"""A rendered conversation may have `GROWTH` times the characters of what was said in it, or `SMALLEST_LIMIT`."""

GenerationPrompt = Literal["completion", "prompt"]
"""Which side of the cut the assistant's header is on: the reference's `completion`, or TRL's `prompt`."""


class PairText(NamedTuple):
    """A pair as text; `prompt + chosen` and `prompt + rejected` are the rendered conversations."""

    prompt: str
    chosen: str
    rejected: str


def render_pair(
    pair: Pair,
    tokenizer: PreTrainedTokenizerBase,
    *,
    generation_prompt: GenerationPrompt = "completion",
    tools: Tools | None = None,
) -> PairText:
    """Render a pair by the tokenizer's chat template; a completion is the conversation minus the prompt.

    Rendering the last turn on its own would be wrong wherever a template adds something to the first turn,
    such as a default system message. The assistant's header belongs to the completion, so it counts in the
    average log-probability, unless `generation_prompt` is "prompt".

    Raises:
        RowFault: the template fails on these messages, or renders the earlier turns differently once the
            answer follows, so that there is no such thing as "the prompt".
        DataError: the tokenizer has no template.
    """
    prompt = render(pair.prompt, tokenizer, add_generation_prompt=generation_prompt == "prompt", tools=tools)
    completions = []
    for side, answer in (("chosen", pair.chosen), ("rejected", pair.rejected)):
        conversation = render([*pair.prompt, *answer], tokenizer, tools=tools)
        if not conversation.startswith(prompt):
            other = render(pair.prompt, tokenizer, add_generation_prompt=generation_prompt != "prompt", tools=tools)
            raise RowFault(SPLIT, _told_apart(side, generation_prompt, works=conversation.startswith(other)))
        completions.append(conversation[len(prompt) :])
    return PairText(prompt, *completions)


def render(
    messages: Sequence[Message],
    tokenizer: PreTrainedTokenizerBase,
    *,
    add_generation_prompt: bool = False,
    tools: Tools | None = None,
) -> str:
    """The messages as text by the tokenizer's chat template.

    Raises:
        RowFault: the template refuses these messages, fails on them, or finds no end.
        DataError: the tokenizer has no template.
    """
    return _rendered(messages, tokenizer, tools, add_generation_prompt=add_generation_prompt)[0]


def render_marked(
    messages: Sequence[Message], tokenizer: PreTrainedTokenizerBase, *, tools: Tools | None = None
) -> tuple[str, list[tuple[int, int]]]:
    """`render`, and where in the text each `{% generation %}` block of the template stands.

    Raises:
        RowFault, DataError: as `render`.
    """
    return _rendered(messages, tokenizer, tools, return_assistant_tokens_mask=True)


def _rendered(
    messages: Sequence[Message], tokenizer: PreTrainedTokenizerBase, tools: Tools | None, **options: bool
) -> tuple[str, list[tuple[int, int]]]:
    from transformers.utils.chat_template_utils import render_jinja_template

    _require_template(tokenizer)
    told: Any = list(messages)
    given: Any = tools and list(tools)
    said = sum(map(_size, told)) + _size(given)
    try:
        with bounded():
            texts, spans = render_jinja_template(
                conversations=[told],
                tools=given,
                chat_template=tokenizer.get_chat_template(tools=given),
                **options,
                **tokenizer.special_tokens_map,
            )
    except (OutOfTime, MemoryError) as error:
        raise RowFault(UNBOUNDED, f"it was stopped: {sentence_of(error)}") from error
    except Exception as error:  # whatever a template does, Jinja and Python raise
        roles = ", ".join(str(message["role"]) for message in messages)
        raise RowFault(REFUSED, f"on a conversation of {roles or 'no messages'}: {sentence_of(error)}") from error
    if len(texts[0]) > max(SMALLEST_LIMIT, GROWTH * said):
        raise RowFault(UNBOUNDED, f"it makes {len(texts[0]):,} characters of {said:,}")
    return texts[0], spans[0] if spans else []


def _require_template(tokenizer: PreTrainedTokenizerBase) -> None:
    if not tokenizer.chat_template:
        raise DataError(
            Fault(
                key="chat_template",
                rule="is needed, as the tokenizer brings none",
                remedy=f"set it to one of {', '.join(shipped_templates())}, or to a file",
            )
        )


def _told_apart(side: str, generation_prompt: GenerationPrompt, *, works: bool) -> str:
    """Why, and what to do: the other way of cutting, where it works."""
    other = "completion" if generation_prompt == "prompt" else "prompt"
    remedy = f"set generation_prompt: {other}, which works with this template" if works else "use another template"
    return f"the prompt is rendered differently once {side} follows; {remedy}"


def _size(value: object) -> int:
    return 0 if value is None else len(str(value))
