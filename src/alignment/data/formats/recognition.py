"""Which format rows have: told by a sample of them, and never guessed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alignment.data.form import Kind
from alignment.data.formats.columns import column_faults
from alignment.data.formats.reader import BESIDE, Asked, RowReader
from alignment.data.formats.refused import refusal_of
from alignment.data.formats.row_format import Format, Row
from alignment.data.formats.table import FORMATS
from alignment.data.row_fault import RowFault
from alignment.errors import DataError, Fault, did_you_mean

SAMPLE = 200
"""Rows by which a format is recognized; every row is checked all the same."""

_NEEDED: dict[Kind, tuple[tuple[str, ...], ...]] = {
    "preference": (("chosen",), ("rejected",)),
    "conversation": (("messages", "completion", "chosen"),),
}
_TARGETS = tuple(dict.fromkeys(column for each in FORMATS.values() for column in (*each.columns, *BESIDE)))
"""Columns that `column_map` can rename to."""

_OTHERWISE = "another name is given with column_map, and docs/data.md shows every format"


def require_columns(known: Sequence[str], asked: Asked, name: str) -> None:
    """Refuse columns that are asked for and not there, or named what nothing reads.

    Raises:
        DataError: with all of them.
    """
    if faults := list(column_faults(known, asked.columns, asked.column_map, _TARGETS, name)):
        raise DataError(faults)


def reader_for(rows: Sequence[Row], known: Sequence[str], *, kind: Kind, asked: Asked, name: str) -> RowReader:
    """What reads the rows of a source.

    Args:
        rows: the first of them, as they are stored.
        known: their columns.
        name: what messages call the source.

    Raises:
        DataError: no format fits, or more than one that reads something else; naming them and what to do.
    """
    if asked.dataset_format != "auto":
        return RowReader(kind=kind, format_name=_stated(asked.dataset_format, kind, name), asked=asked)
    try:
        return RowReader(kind=kind, format_name=_recognized(rows, known, kind, asked, name), asked=asked)
    except DataError:
        require_columns(known, asked, name)  # a mistake there is the likelier cause, so it is told alone
        raise


def _recognized(rows: Sequence[Row], known: Sequence[str], kind: Kind, asked: Asked, name: str) -> str:
    sample = [asked.kept(row) for row in rows]
    found = _found(sample, [each for each in FORMATS.values() if each.gives == kind])
    if not found and kind == "conversation":
        found = _found(sample, [each for each in FORMATS.values() if each.gives == "preference"])
    return _only(found, sample, kind, name) if found else _by_columns(sample, known, kind, asked, name)


def _stated(given: str, kind: Kind, name: str) -> str:
    if given not in FORMATS:
        listed = f"one of auto, {', '.join(FORMATS)}"
        remedy = did_you_mean(given, FORMATS) or f"write {listed}"
        raise DataError(Fault(key=f"dataset_format of {name}", value=given, rule="is no format", remedy=remedy))
    if FORMATS[given].gives == "conversation" and kind == "preference":
        raise DataError(_without_preference(name, given))
    return given


def _without_preference(name: str, given: str) -> Fault:
    shape = FORMATS[given].shape
    return Fault(
        key=name,
        rule=f"has conversations ({given}: {shape}), and no preference between two answers",
        remedy="train on them with method: sft, or give a chosen and a rejected answer to each prompt",
    )


def _found(sample: Sequence[Row], formats: Sequence[Format]) -> dict[str, list[int]]:
    """Format -> the rows of the sample that have its shape."""
    found = {each.name: [at for at, row in enumerate(sample) if each.recognizes(row)] for each in formats}
    return {name: rows for name, rows in found.items() if rows}


def _only(found: dict[str, list[int]], sample: Sequence[Row], kind: Kind, name: str) -> str:
    """The one format that all recognized rows have, and that every other reading of them agrees with."""
    found = {each: rows for each, rows in found.items() if not set(FORMATS[each].yields_to) & set(found)}
    recognized = sorted({at for rows in found.values() for at in rows})
    complete = [each for each, rows in found.items() if rows == recognized]
    if not complete:
        listed = "; ".join(f"row {rows[0]} is {each} ({FORMATS[each].shape})" for each, rows in found.items())
        remedy = "give each a file of its own in dataset_mixture, or state one of them as dataset_format"
        raise DataError(Fault(key=name, rule=f"has rows of several formats: {listed}", remedy=remedy))
    chosen = complete[0]
    for other, rows in found.items():
        at = next((at for at in rows if _reading(sample[at], chosen, kind) != _reading(sample[at], other, kind)), None)
        if at is not None:
            raise DataError(_ambiguous(name, at, chosen, other, sample[at]))
    return chosen


def _ambiguous(name: str, at: int, one: str, other: str, row: Row) -> Fault:
    candidates = " or ".join(f"{each} ({FORMATS[each].shape})" for each in (one, other))
    extra = [column for column in row if column in FORMATS[other].columns and column not in FORMATS[one].columns]
    leave_out = f", or leave out what is not meant with column_map: {{{extra[0]}: null}}" if extra else ""
    remedy = f"state dataset_format: {one} or {other}{leave_out}"
    return Fault(key=name, rule=f"can be read in two ways, row {at} as {candidates}", remedy=remedy)


def _reading(row: Row, format_name: str, kind: Kind) -> list[dict[str, Any]] | None:
    try:
        return RowReader(kind=kind, format_name=format_name).read(row)
    except RowFault:
        return None


def _by_columns(sample: Sequence[Row], known: Sequence[str], kind: Kind, asked: Asked, name: str) -> str:
    """The first format that has the columns of rows of no known shape, to tell what is wrong with each of them."""
    refusal = refusal_of(sample, name) if kind == "preference" else None
    conversations = _found(sample, [each for each in FORMATS.values() if each.gives == "conversation"])
    if kind == "preference" and (refusal or conversations):
        raise DataError(refusal or _without_preference(name, next(iter(conversations))))
    columns = [ours for column in known if (ours := asked.name_of(column)) is not None]
    likely = [each for each in FORMATS.values() if each.gives == kind or kind == "conversation"]
    for each in sorted(likely, key=lambda each: each.gives != kind):
        if not known or all(set(group) & set(columns) for group in each.needs):
            return each.name
    faults = []
    for needed in _NEEDED[kind]:
        remedy = did_you_mean(needed[0], columns) or f"its columns are {', '.join(columns) or 'none'}; {_OTHERWISE}"
        if not set(needed) & set(columns):
            faults.append(Fault(key=name, rule=f"has no column {' or '.join(needed)}", remedy=remedy))
    raise DataError(faults)
