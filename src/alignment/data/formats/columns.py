"""The columns of a source as `columns` and `column_map` leave them: kept, renamed, left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from alignment.data.formats.row_format import Row
from alignment.errors import Fault, did_you_mean

ColumnMap = Mapping[str, str | None]
"""Their name to ours, or to null for a column, or a key of messages (`chosen[].name`), to be left out."""


def mapped(row: Row, column_map: ColumnMap) -> dict[str, Any]:
    """The row under our names."""
    renamed = {column_map.get(column, column): value for column, value in row.items()}
    ours = {column: value for column, value in renamed.items() if column is not None}
    for name, target in column_map.items():
        column, inner, key = name.partition("[].")
        if inner and target is None and column in ours:
            ours[column] = _without(ours[column], key)
    return ours


def _without(value: Any, key: str) -> Any:
    if isinstance(value, Mapping):
        return {name: item for name, item in value.items() if name != key}
    return [_without(item, key) for item in value] if isinstance(value, list) else value


def column_faults(
    known: Sequence[str], wanted: Sequence[str] | None, column_map: ColumnMap, targets: Iterable[str], name: str
) -> Iterator[Fault]:
    """What is wrong with `columns` and `column_map` for a source with the columns `known`.

    Args:
        targets: every column that some format reads.
        name: what messages call the source.
    """
    for column in wanted or ():
        if column not in known:
            remedy = did_you_mean(column, known) or f"its columns are {_listed(known)}"
            yield Fault(key=f"columns of {name}", value=column, rule="does not exist", remedy=remedy)
    left = [column for column in known if wanted is None or column in wanted]
    for theirs, ours in column_map.items():
        key = f"column_map of {name}"
        source = theirs.partition("[].")[0] if ours is None else theirs
        if source not in left:
            remedy = did_you_mean(source, left) or f"its columns are {_listed(left)}"
            yield Fault(key=key, value=theirs, rule="does not exist", remedy=remedy)
        if ours is not None and ours not in targets:
            remedy = did_you_mean(ours, targets) or "docs/data.md lists the columns of every format"
            yield Fault(key=key, value=ours, rule="is no column that a format reads", remedy=remedy)
    yield from _collisions(left, column_map, name)


def _collisions(known: Sequence[str], column_map: ColumnMap, name: str) -> Iterator[Fault]:
    kept = [column for column in known if column not in column_map]
    renamed = [ours for ours in column_map.values() if ours is not None]
    for ours in dict.fromkeys(renamed):
        if ours in kept:
            rule, remedy = "is a column already", f"leave the other one out: {{{ours}: null}}"
        elif renamed.count(ours) > 1:
            rule, remedy = "is given to two columns", "keep one of them"
        else:
            continue
        yield Fault(key=f"column_map of {name}", value=ours, rule=rule, remedy=remedy)


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(columns) or "none"
