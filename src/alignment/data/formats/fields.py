"""What converters read of a row: a text, whatever its column is called, and a conversation."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from alignment.data.formats.row_format import Row
from alignment.data.messages import Message, RowFault, from_text, kind_of, read_messages, read_text
from alignment.data.row_fault import shown


def stated(row: Row, columns: Sequence[str]) -> list[str]:
    """Those of the columns that say something in this row."""
    return [column for column in columns if row.get(column) is not None]


def the_one(row: Row, columns: Sequence[str], what: str) -> str:
    """The one column of several that could hold the same thing.

    Raises:
        RowFault: none of them says anything, or two say different things.
    """
    found = stated(row, columns)
    if not found:
        raise RowFault(f"missing {what}", f"none of {', '.join(columns)} says anything")
    if any(row[column] != row[found[0]] for column in found[1:]):
        remedy = f"leave one out with column_map: {{{found[-1]}: null}}"
        raise RowFault(f"two columns for the {what}", f"{' and '.join(found)} differ; {remedy}")
    return found[0]


def text_of(row: Row, column: str) -> str:
    """The text in a column, as it is written.

    Raises:
        RowFault: null, no text, or no valid Unicode.
    """
    value = row.get(column)
    if value is None:
        raise RowFault("null value", f"{column} is null")
    if not isinstance(value, str):
        raise RowFault("not a text", f"{column} is {kind_of(value)}, {shown(value)}")
    return read_text(value, column)


def is_answered(value: object, name: str = "") -> bool:
    """Whether a value is a list of messages that ends with the assistant's."""
    try:
        return is_messages(value) and read_messages(value, name)[-1]["role"] == "assistant"
    except RowFault:
        return False


def is_text(value: object) -> bool:
    """Whether a value is text, and not a list of messages written as text."""
    try:
        return isinstance(value, str) and isinstance(from_text(value, ""), str)
    except RowFault:
        return False


def is_messages(value: object) -> bool:
    """Whether a value is a list of messages, or the text of one."""
    try:
        read = from_text(value, "")
    except RowFault:
        return False
    return isinstance(read, list) and bool(read) and all(isinstance(message, Mapping) for message in read)


def as_list(value: object) -> object:
    """A list that was stored as its JSON, as tables of text have to; anything else as it is."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        with suppress(ValueError, RecursionError):
            return json.loads(value)
    return value


def history_of(row: Row) -> list[Message]:
    """Earlier turns in a column `history`: pairs of question and answer, or messages."""
    value = as_list(row.get("history"))
    if value in (None, [], ""):
        return []
    if is_messages(value):
        return read_messages(value, "history")
    turns: list[Message] = []
    if not isinstance(value, list):
        raise RowFault("not a history", f"history is {kind_of(value)}, not a list of [question, answer]")
    for position, exchange in enumerate(value):
        turns.extend(_exchange(exchange, f"history[{position}]"))
    return turns


def _exchange(value: Any, name: str) -> list[Message]:
    if not isinstance(value, list) or len(value) != 2 or not all(isinstance(text, str) for text in value):
        raise RowFault("not a history", f"{name} is {shown(value)}, not [question, answer]")
    question, answer = (read_text(text, name) for text in value)
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def number_of(value: object, name: str) -> float:
    """A finite number.

    Raises:
        RowFault: something else.
    """
    number = None if isinstance(value, bool) or not isinstance(value, int | float) else _float(value)
    if number is None or not math.isfinite(number):
        raise RowFault("not a number", f"{name} is {shown(value)}, not a finite number")
    return number


def _float(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf
