"""Dialogues written as one text, as Anthropic's hh-rlhf has them: `\n\nHuman: ...\n\nAssistant: ...`."""

from __future__ import annotations

import re

from alignment.data.formats.fields import text_of, the_one
from alignment.data.formats.row_format import Format, Row
from alignment.data.messages import Message, RowFault, read_text
from alignment.data.row_fault import shown

IS_TRANSCRIPT = "prompt is a transcript"
"""The reason of a fault where it would be read as the words of the user."""

_COMPLETIONS = ("completion", "response", "output", "answer")

_TURN = re.compile(r"(?:\A\s*|\n\n)(Human|Assistant):")
_QUESTION = re.compile(r"\s*Human:.*\n\nAssistant:\s*\Z", re.DOTALL)
_ROLES = {"Human": "user", "Assistant": "assistant"}


def turns_of(text: str, name: str) -> list[Message]:
    """The turns of a transcript, each without white space around it.

    Raises:
        RowFault: it does not begin with a turn.
    """
    found = list(_TURN.finditer(read_text(text, name)))
    if not found or text[: found[0].start()].strip():
        raise RowFault("not a transcript", f"{name} begins with {shown(text[:40])}, not with Human: or Assistant:")
    ends = [*(mark.start() for mark in found[1:]), len(text)]
    return [
        {"role": _ROLES[mark[1]], "content": text[mark.end() : end].strip()}
        for mark, end in zip(found, ends, strict=True)
    ]


def is_dialogue(value: object) -> bool:
    """Whether a text is a transcript that ends in an answer."""
    return isinstance(value, str) and value.lstrip().startswith("Human:") and "\n\nAssistant:" in value


def is_question(value: object) -> bool:
    """Whether a text is a transcript that waits for its answer."""
    return isinstance(value, str) and _QUESTION.match(value) is not None


def _is_pair(row: Row) -> bool:
    sides = [row.get("chosen"), row.get("rejected")]
    return all(map(is_dialogue, sides)) or (
        is_question(row.get("prompt")) and all(isinstance(side, str) for side in sides)
    )


def _pair(row: Row) -> Row:
    sides = {side: text_of(row, side) for side in ("chosen", "rejected")}
    prompt = row.get("prompt")
    if is_question(prompt) and not all(map(is_dialogue, sides.values())):
        answers = {side: _answer(text) for side, text in sides.items()}
        return {"prompt": turns_of(text_of(row, "prompt"), "prompt")[:-1], **answers}
    whole: dict[str, object] = {side: turns_of(text, side) for side, text in sides.items()}
    return {**whole, "prompt": prompt} if prompt is not None else whole


def _answer(text: str) -> list[Message]:
    return [{"role": "assistant", "content": text.strip()}]


def _is_conversation(row: Row) -> bool:
    answered = any(isinstance(row.get(column), str) for column in _COMPLETIONS)
    return (is_question(row.get("prompt")) and answered) or is_dialogue(row.get("text"))


def _conversation(row: Row) -> Row:
    if row.get("prompt") is None:
        return {"messages": turns_of(text_of(row, "text"), "text")}
    answer = text_of(row, the_one(row, _COMPLETIONS, "answer"))
    return {"prompt": turns_of(text_of(row, "prompt"), "prompt")[:-1], "completion": _answer(answer)}


TRANSCRIPT_PAIRS = Format(
    name="transcript_pairs",
    gives="preference",
    shape="chosen and rejected as whole dialogues, Human: ... Assistant: ..., or such a prompt with two answers",
    columns=("prompt", "chosen", "rejected"),
    needs=(("chosen",), ("rejected",)),
    recognizes=_is_pair,
    convert=_pair,
)
TRANSCRIPTS = Format(
    name="transcripts",
    gives="conversation",
    shape="a prompt as a dialogue, Human: ... Assistant:, with a completion or response, or text with all of it",
    columns=("prompt", *_COMPLETIONS, "text"),
    needs=(("prompt", "text"), (*_COMPLETIONS, "text")),
    recognizes=_is_conversation,
    convert=_conversation,
)
