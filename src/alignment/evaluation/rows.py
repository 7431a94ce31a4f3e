"""Rows of files that a benchmark or a judge wrote, each with its place, so that a message can name it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from alignment.data.folders import OBJECT_SUFFIXES, kind_of_file
from alignment.data.messages import RowFault
from alignment.data.readers import read_rows
from alignment.errors import DataError, Fault

Source = str | Path | Iterable[Mapping[str, Any]]
"""A JSON, JSON Lines or CSV file, compressed or not, or the rows themselves."""

Placed = tuple[str, Mapping[str, Any]]
"""What messages call a row, and the row."""


def placed_rows(source: Source, *, key: str) -> list[Placed]:
    """The rows of `source`, in their order.

    Args:
        key: what messages call the source.

    Raises:
        DataError: no such file, one that holds no rows, or rows that are no objects.
    """
    found = _of_file(Path(source), key) if isinstance(source, str | Path) else _of_memory(source, key)
    if not found:
        raise DataError(Fault(key=key, rule="holds no rows"))
    return found


def one_value(rows: Iterable[Placed], column: str, *, key: str, remedy: str) -> Any:
    """What all rows have in `column`; `None` where they have none.

    Raises:
        DataError: they differ.
    """
    values = {row.get(column): None for _, row in rows}
    if len(values) > 1:
        shown = ", ".join(map(str, list(values)[:4]))
        raise DataError(Fault(key=key, rule=f"must have one {column} in all rows, and has {shown}", remedy=remedy))
    return next(iter(values))


def _of_file(path: Path, key: str) -> list[Placed]:
    if not path.is_file():
        raise DataError(Fault(key=key, value=str(path), rule="is no file", remedy="check the path"))
    kind = kind_of_file(path)
    if kind not in OBJECT_SUFFIXES:
        raise DataError(Fault(key=key, value=str(path), rule=f"must end in one of {', '.join(OBJECT_SUFFIXES)}"))
    rows, faults = [], []
    for number, (row, place) in enumerate(read_rows(path, kind), 1):
        named = place if "line" in place else f"row {number} of {place}"
        if isinstance(row, RowFault):
            faults.append(Fault(key=named, rule=f"cannot be used: {row}"))
        else:
            rows.append((named, row))
    if faults:
        raise DataError(faults)
    return rows


def _of_memory(source: Iterable[Mapping[str, Any]], key: str) -> list[Placed]:
    rows = [(f"row {number} of {key}", row) for number, row in enumerate(source, 1)]
    faults = [Fault(key=name, value=row, rule="is no mapping") for name, row in rows if not isinstance(row, Mapping)]
    if faults:
        raise DataError(faults)
    return rows
