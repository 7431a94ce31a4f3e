"""The canonical rows themselves, which need no conversion but for answers that stand alone as objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignment.data.formats.fields import is_answered, is_messages, is_text
from alignment.data.formats.row_format import Format, Row
from alignment.data.formats.transcripts import is_question
from alignment.data.messages import RowFault


def _is_pair(row: Row) -> bool:
    sides: list[Any] = [row.get(side) for side in ("chosen", "rejected")]
    prompt = row.get("prompt")
    if all(map(is_messages, sides)):
        return prompt is not None or any(isinstance(side, str) or len(side) > 1 for side in sides)
    alone = all(is_text(side) or isinstance(side, Mapping) or is_messages(side) for side in sides)
    return alone and (is_messages(prompt) or isinstance(prompt, Mapping) or is_text(prompt)) and not is_question(prompt)


def _pair(row: Row) -> Row:
    if is_question(row.get("prompt")) and isinstance(row.get("chosen"), str):
        raise RowFault("prompt is a transcript", "dataset_format: transcript_pairs makes turns of it")
    return {column: _listed(row[column]) for column in PAIRS.columns if column in row}


def _listed(value: object) -> object:
    """A message that stands alone, as the list of it."""
    return [value] if isinstance(value, Mapping) else value


def _is_conversation(row: Row) -> bool:
    if is_answered(row.get("messages")):
        return True
    prompt, completion = row.get("prompt"), row.get("completion")
    return all(is_text(value) or is_messages(value) for value in (prompt, completion)) and not is_question(prompt)


def _conversation(row: Row) -> Row:
    return {column: row[column] for column in CONVERSATIONS.columns if column in row}


PAIRS = Format(
    name="pairs",
    gives="preference",
    shape="chosen and rejected, each a list of messages, or a text or message beside a prompt",
    columns=("prompt", "chosen", "rejected"),
    recognizes=_is_pair,
    convert=_pair,
)
CONVERSATIONS = Format(
    name="conversations",
    gives="conversation",
    shape="messages, or prompt and completion",
    columns=("messages", "prompt", "completion"),
    recognizes=_is_conversation,
    convert=_conversation,
)
