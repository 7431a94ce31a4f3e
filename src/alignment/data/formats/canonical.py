"""The canonical rows themselves, which need no conversion but for answers that stand alone as objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignment.data.formats.fields import is_answered, is_messages, is_text
from alignment.data.formats.row_format import Format, Row
from alignment.data.formats.transcripts import IS_TRANSCRIPT, is_question
from alignment.data.formats.unread import refuse_unread
from alignment.data.messages import RowFault, from_text, read_messages


def _is_pair(row: Row) -> bool:
    sides: list[Any] = [row.get(side) for side in ("chosen", "rejected")]
    prompt = row.get("prompt")
    if all(map(is_messages, sides)):
        whole: list[Any] = [from_text(side, "") for side in sides]
        return prompt is not None or any(len(side) > 1 for side in whole)
    alone = all(is_text(side) or isinstance(side, Mapping) or is_messages(side) for side in sides)
    return alone and (is_messages(prompt) or isinstance(prompt, Mapping) or is_text(prompt)) and not is_question(prompt)


def _pair(row: Row) -> Row:
    if is_question(row.get("prompt")) and isinstance(row.get("chosen"), str):
        raise RowFault(IS_TRANSCRIPT, "dataset_format: transcript_pairs makes turns of it")
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
    if is_question(row.get("prompt")) and row.get("messages") is None:
        raise RowFault(IS_TRANSCRIPT, "dataset_format: transcripts makes turns of it")
    if row.get("messages") is not None:
        refuse_unread({"prompt": row.get("prompt")}, (), read_messages(row["messages"], "messages"))
    return {column: row[column] for column in CONVERSATIONS.columns if column in row}


PAIRS = Format(
    name="pairs",
    gives="preference",
    shape="chosen and rejected, each a list of messages, or a text or message beside a prompt",
    columns=("prompt", "chosen", "rejected"),
    needs=(("chosen",), ("rejected",)),
    recognizes=_is_pair,
    convert=_pair,
)
CONVERSATIONS = Format(
    name="conversations",
    gives="conversation",
    shape="messages, or prompt and completion",
    columns=("messages", "prompt", "completion"),
    needs=(("messages", "completion"),),
    recognizes=_is_conversation,
    convert=_conversation,
)
