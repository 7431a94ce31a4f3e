"""Where in a rendered conversation its answers stand, for supervised fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from alignment.data.chat import Tools, render, render_marked
from alignment.data.messages import Message, RowFault
from alignment.data.tokenize import common_length
from alignment.recipe.chat_templates import GENERATION

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NOT_TOLD = "answers not told apart by the chat template"
"""Reason of a row fault."""

Span = tuple[int, int]
"""First character, and the one behind the last."""

_REMEDY = "enclose what the assistant says in {% generation %} ... {% endgeneration %}, or set assistant_turns: last"


def answer_spans(
    messages: Sequence[Message],
    tokenizer: PreTrainedTokenizerBase,
    *,
    first: int,
    last_only: bool = False,
    closing: str = "",
    tools: Tools | None = None,
) -> tuple[str, list[Span]]:
    """The rendered conversation, and where its answers from message `first` on stand in it.

    An answer reaches from behind the assistant's header to the end of its turn. The template's `{% generation %}` marks
    tell, or, if it has none, what it renders of the conversation up to each answer.

    Args:
        messages: the last one is an answer.
        first: earlier messages are only read.
        last_only: the last answer alone.
        closing: what the template writes behind an answer (`Marks.closing`).

    Raises:
        RowFault: the template fails, or does not show where an answer stands.
    """
    answers = [at for at, message in enumerate(messages) if message["role"] == "assistant" and at >= first]
    wanted = answers[-1:] if last_only else answers
    if GENERATION.search(str(tokenizer.chat_template)):
        text, marked = render_marked(messages, tokenizer, tools=tools)
        if len(marked) >= len(answers):
            return text, marked[-len(wanted) :]
    else:
        text = render(messages, tokenizer, tools=tools)
    return text, [_answer_span(text, messages, at, tokenizer, tools, closing) for at in wanted]


def _answer_span(
    text: str,
    messages: Sequence[Message],
    at: int,
    tokenizer: PreTrainedTokenizerBase,
    tools: Tools | None,
    closing: str,
) -> Span:
    asked = render(messages[:at], tokenizer, add_generation_prompt=True, tools=tools)
    if not text.startswith(asked):
        raise RowFault(NOT_TOLD, f"the turns before turn {at} are rendered differently once it follows; {_REMEDY}")
    start = len(asked)
    through = text if at == len(messages) - 1 else render(messages[: at + 1], tokenizer, tools=tools)
    end = common_length(text, through)
    said = messages[at]["content"].strip()
    if end == len(through) or said in text[start:end]:
        return start, end
    # The template renders a last answer otherwise than an earlier one: find its words, and what closes the turn.
    place = text.find(said, start)
    if place < 0 or not said:
        raise RowFault(NOT_TOLD, f"turn {at} is rendered differently once others follow; {_REMEDY}")
    end = place + len(said)
    return start, end + common_length(text[end:], closing)
