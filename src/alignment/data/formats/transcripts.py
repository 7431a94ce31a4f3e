"""Dialogues written as one text, as Anthropic's hh-rlhf has them: `\n\nHuman: ...\n\nAssistant: ...`."""

from __future__ import annotations

import re

from alignment.data.formats.fields import text_of
from alignment.data.formats.row_format import Format, Row
from alignment.data.messages import Message, RowFault, read_text
from alignment.data.row_fault import shown

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


TRANSCRIPT_PAIRS = Format(
    name="transcript_pairs",
    gives="preference",
    shape="chosen and rejected as whole dialogues, Human: ... Assistant: ..., or such a prompt with two answers",
    columns=("prompt", "chosen", "rejected"),
    recognizes=_is_pair,
    convert=_pair,
)
