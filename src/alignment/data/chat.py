"""Messages to text: which chat template, and what of the text is prompt and what is completion."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser

from alignment.errors import DataError, Fault, RecipeError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from alignment.data.pairs import Message, Pair

GenerationPrompt = Literal["completion", "prompt"]
"""Which side of the cut the assistant's header is on: the reference's `completion`, or TRL's `prompt`."""

TEMPLATES = Path(__file__).parent.parent / "templates"


class PairText(NamedTuple):
    """A pair as text; `prompt + chosen` and `prompt + rejected` are the rendered conversations."""

    prompt: str
    chosen: str
    rejected: str


def shipped_templates() -> dict[str, Path]:
    """The templates of this package by name (`gemma2`, ...)."""
    return {path.stem: path for path in sorted(TEMPLATES.glob("*.jinja"))}


def resolve_chat_template(value: str, *, base: Path | None = None) -> str:
    """The Jinja source that the recipe's `chat_template` means.

    Args:
        value: inline Jinja, the name of a shipped template with or without `.jinja`, or a file path.
        base: the recipe's folder, where a relative path is looked for after the working directory.

    Raises:
        RecipeError: no such template, or not valid Jinja.
    """
    if "{{" in value or "{%" in value:
        _check_syntax(value, "chat_template")
        return value
    candidates = [Path(value).expanduser(), *([base / value] if base else [])]
    path = next((path for path in candidates if path.is_file()), None) or shipped_templates().get(
        value.removesuffix(".jinja")
    )
    if path is None:
        names = list(shipped_templates())
        near = difflib.get_close_matches(value, names, n=1)
        raise RecipeError(
            Fault(
                key="chat_template",
                value=value,
                rule="is neither inline Jinja, nor a file, nor a shipped template",
                remedy=f"did you mean {near[0]}?" if near else f"shipped are {', '.join(names)}",
            )
        )
    source = path.read_text(encoding="utf-8")
    _check_syntax(source, f"chat_template {path}")
    return source


def render_pair(
    pair: Pair, tokenizer: PreTrainedTokenizerBase, *, generation_prompt: GenerationPrompt = "completion"
) -> PairText:
    """Render a pair by the tokenizer's chat template; a completion is the conversation minus the prompt.

    Rendering the last turn on its own would be wrong wherever a template adds something to the first turn,
    such as a default system message. The assistant's header belongs to the completion, so it counts in the
    average log-probability, unless `generation_prompt` is "prompt".

    Raises:
        DataError: the template fails on these messages, or renders the earlier turns differently once the
            answer follows, so that there is no such thing as "the prompt".
    """
    prompt = render(pair.prompt, tokenizer, add_generation_prompt=generation_prompt == "prompt")
    completions = []
    for side, answer in (("chosen", pair.chosen), ("rejected", pair.rejected)):
        conversation = render([*pair.prompt, *answer], tokenizer)
        if not conversation.startswith(prompt):
            remedy = "use another template"
            if generation_prompt == "prompt":
                remedy += ", or generation_prompt: completion"
            raise DataError(
                Fault(
                    key="chat_template",
                    rule=f"renders the prompt differently once {side} follows, so the completion cannot be told apart",
                    remedy=remedy,
                )
            )
        completions.append(conversation[len(prompt) :])
    return PairText(prompt, *completions)


def render(messages: list[Message], tokenizer: PreTrainedTokenizerBase, *, add_generation_prompt: bool = False) -> str:
    """The messages as text by the tokenizer's chat template.

    Raises:
        DataError: the tokenizer has no template, or the template refuses these messages.
    """
    if not tokenizer.chat_template:
        raise DataError(
            Fault(
                key="chat_template",
                rule="is needed, as the tokenizer brings none",
                remedy=f"set it to one of {', '.join(shipped_templates())}, or to a file",
            )
        )
    try:
        text: Any = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=add_generation_prompt)
    except jinja2.TemplateError as error:
        roles = ", ".join(message["role"] for message in messages)
        raise DataError(
            Fault(key="chat_template", rule=f"refuses a conversation of {roles or 'no messages'}: {error}")
        ) from error
    assert isinstance(text, str)
    return text


class _Generation(jinja2.ext.Extension):
    """`{% generation %}`, the tag by which transformers marks what the assistant said."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _check_syntax(source: str, key: str) -> None:
    try:
        jinja2.Environment(extensions=[_Generation, "jinja2.ext.loopcontrols"]).parse(source)
    except jinja2.TemplateSyntaxError as error:
        rule = f"is not valid Jinja: {error.message} in line {error.lineno}"
        raise RecipeError(Fault(key=key, rule=rule)) from error
