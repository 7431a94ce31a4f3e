"""A file of prompts: JSON Lines, JSON or CSV rows with `prompt` or `messages`, or plain text with one prompt a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from alignment.data.folders import COMPRESSIONS, OBJECT_SUFFIXES, kind_of_file
from alignment.data.messages import LONGEST, Message, RowFault, from_text, read_messages, read_text, too_long
from alignment.data.readers import read_rows, unreadable
from alignment.errors import DataError, Fault

TEXT = ".txt"


class PromptRow(NamedTuple):
    """One prompt."""

    number: int
    """From 0, in the order of the file; blank lines are no rows."""
    row: Mapping[str, Any]
    """As the file has it."""
    messages: list[Message]
    """The conversation so far, ending with what is to be answered."""


def count_prompts(path: Path, *, taken: frozenset[str] = frozenset()) -> int:
    """Prompts of a file, after a look at every row.

    Args:
        taken: columns that no row may have.

    Raises:
        DataError: with every bad row; or there is no such file, or no row in it.
    """
    faults, count = [], 0
    for place, row in _rows(path):
        count += 1
        try:
            _messages(row)
            _refuse_clash(row, taken)
        except RowFault as fault:
            faults.append(Fault(key=place, rule=f"cannot be asked: {fault}"))
    if faults:
        raise DataError(faults)
    if not count:
        raise DataError(Fault(key=str(path), rule="has no prompt", remedy='give rows such as {"prompt": "Why?"}'))
    return count


def read_prompts(path: Path) -> Iterator[PromptRow]:
    """The prompts of a file that `count_prompts` has found good, one at a time."""
    for number, (_, row) in enumerate(_rows(path)):
        messages = _messages(row)
        assert isinstance(row, Mapping)
        yield PromptRow(number, row, messages)


def _refuse_clash(row: Mapping[str, Any] | RowFault, taken: frozenset[str]) -> None:
    if isinstance(row, Mapping) and (clash := sorted(taken & set(row))):
        raise RowFault("column that the answers are written to", f"{clash[0]}; rename it")


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any] | RowFault]]:
    """Places and rows."""
    kind = kind_of_file(path)
    if not path.is_file():
        raise DataError(Fault(key=str(path), rule="does not exist, or is no file", remedy="correct PROMPTS"))
    if path.suffix.lower() == TEXT:
        yield from _lines(path)
    elif kind in OBJECT_SUFFIXES:
        yield from ((place, row) for row, place in read_rows(path, kind))
    else:
        known = ", ".join((TEXT, *OBJECT_SUFFIXES))
        remedy = f"name it {known}; all but the first may be compressed ({', '.join(COMPRESSIONS)})"
        raise DataError(Fault(key=str(path), rule="is no file of prompts by its name", remedy=remedy))


def _lines(path: Path) -> Iterator[tuple[str, Mapping[str, Any] | RowFault]]:
    """Lines that are not blank, as rows."""
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(iter(lambda: stream.readline(LONGEST + 1), b""), 1):
                place = f"{path.name} line {number}"
                if len(line) > LONGEST:
                    yield place, too_long()
                    return
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                except UnicodeDecodeError:
                    yield place, RowFault("not valid UTF-8", "save the file as UTF-8")
                    continue
                if text:
                    yield place, {"prompt": text}
    except OSError as error:
        raise unreadable(path, error) from error


def _messages(row: Mapping[str, Any] | RowFault) -> list[Message]:
    """The conversation of a row.

    Raises:
        RowFault: it has none, or none that can be answered.
    """
    if isinstance(row, RowFault):
        raise row
    stated = [name for name in ("prompt", "messages") if row.get(name) is not None]
    if len(stated) != 1:
        columns = ", ".join(map(str, row)) or "none"
        raise RowFault("not one of prompt and messages", f"it has {' and '.join(stated) or f'the columns {columns}'}")
    value = from_text(row[stated[0]], stated[0])
    if isinstance(value, str):
        value = [{"role": "user", "content": read_text(value, stated[0])}]
    messages = read_messages(value, stated[0])
    if messages[-1]["role"] == "assistant":
        raise RowFault("answered already", f"{stated[0]} ends with the assistant; leave its answer out")
    if not messages[-1]["content"].strip():
        raise RowFault("empty prompt", f"{stated[0]} ends with a message that says nothing")
    return messages
