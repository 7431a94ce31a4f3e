"""Every row of a data set checked and brought into one form before anything is trained on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Union

from alignment.data.pairs import RowFault, check_conversation, check_pair
from alignment.errors import DataError, Fault, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset, Features

Kind = Literal["preference", "conversation"]

SHOWN = 5
"""Bad rows that an error lists; the others are counted."""

PARALLEL_FROM = 5_000
"""Rows from which more processes pay for their start."""

COLUMNS: dict[Kind, tuple[str, ...]] = {
    "preference": ("prompt", "chosen", "rejected"),
    "conversation": ("messages",),
}
"""The columns of checked rows; each holds a list of messages."""

_REQUIRED: dict[Kind, tuple[tuple[str, ...], ...]] = {
    "preference": (("chosen",), ("rejected",)),
    "conversation": (("messages", "completion", "chosen"),),
}
_READ = ("messages", "prompt", "completion", "chosen", "rejected")


Rows = Union["Dataset", Sequence[Mapping[str, Any] | RowFault]]
"""Typed rows, or Python rows in which a `RowFault` stands for one that could not even be read."""


class CheckedRows(NamedTuple):
    """The good rows, in their order, and how many were dropped for which reason."""

    dataset: Dataset
    """Preference: `prompt` (every turn before the answer), `chosen`, `rejected` (one assistant message each).
    Conversation: `messages`."""
    dropped: Mapping[str, int]


def check_rows(
    rows: Rows,
    *,
    kind: Kind,
    on_bad_row: Literal["error", "drop"] = "error",
    name: str = "the data",
    places: Sequence[str] | None = None,
    num_proc: int | None = None,
) -> CheckedRows:
    """Check every row, and reduce it to the columns and message keys that training reads.

    Args:
        rows: what was read.
        kind: preference pairs or conversations.
        on_bad_row: stop at bad rows, or leave them out.
        name: what messages call the data (`train of pairs.jsonl`).
        places: where each row stands, for messages (`pairs.jsonl line 18`).
        num_proc: processes for a large `Dataset`.

    Raises:
        DataError: no rows, a column that no row has, bad rows (unless dropped), or nothing left after
            dropping. Bad rows are named by their index, counted from 0.
    """
    from datasets import Dataset

    if len(rows) == 0:
        raise DataError(Fault(key=name, rule="has no rows"))
    columns = column_names(rows)
    if columns:
        _require_columns(columns, kind, name)
    if isinstance(rows, Dataset):
        dataset, faults = _check_dataset(rows, kind, name, num_proc)
    else:
        dataset, faults = _check_objects(rows, kind)
    if not faults:
        return CheckedRows(dataset, {})
    counts = dict(Counter(fault.reason for fault in faults.values()).most_common())
    summary = ", ".join(f"{count} x {reason}" for reason, count in counts.items())
    if on_bad_row == "error":
        listed = [
            Fault(key=f"row {index} of {name}{f' ({places[index]})' if places else ''}", rule=f"is bad: {fault}")
            for index, fault in list(faults.items())[:SHOWN]
        ]
        total = Fault(
            key=name,
            rule=f"has {len(faults)} bad rows out of {len(rows)} ({summary})",
            remedy="mend them, or leave them out with on_bad_row: drop",
        )
        raise DataError([*listed, total])
    if len(faults) == len(rows):
        raise DataError(Fault(key=name, rule=f"has no good row among {len(rows)} ({summary})"))
    return CheckedRows(dataset, counts)


def column_names(rows: Rows) -> list[str]:
    """The columns that the data set has, or that any of the Python rows has."""
    if isinstance(rows, Sequence):
        return list(dict.fromkeys(column for row in rows if isinstance(row, Mapping) for column in row))
    return rows.column_names


def _require_columns(columns: Sequence[str], kind: Kind, name: str) -> None:
    faults = []
    for alternatives in _REQUIRED[kind]:
        if not any(column in columns for column in alternatives):
            remedy = did_you_mean(alternatives[0], columns) or f"its columns are {', '.join(columns) or 'none'}"
            faults.append(Fault(key=name, rule=f"has no column {' or '.join(alternatives)}", remedy=remedy))
    if faults:
        raise DataError(faults)


def _check_objects(rows: Sequence[Mapping[str, Any] | RowFault], kind: Kind) -> tuple[Dataset, dict[int, RowFault]]:
    from datasets import Dataset

    good: list[dict[str, Any]] = []
    faults: dict[int, RowFault] = {}
    check = _CHECKS[kind]
    for index, row in enumerate(rows):
        try:
            if isinstance(row, RowFault):
                raise row
            good.append(check(row))
        except RowFault as fault:
            faults[index] = fault
    columns = {column: [row[column] for row in good] for column in COLUMNS[kind]}
    return Dataset.from_dict(columns, features=_features(kind)), faults


def _check_dataset(rows: Dataset, kind: Kind, name: str, num_proc: int | None) -> tuple[Dataset, dict[int, RowFault]]:
    from datasets import Features, Value

    rows = rows.select_columns([column for column in rows.column_names if column in _READ])
    checked = rows.map(
        partial(_check_batch, kind=kind),
        batched=True,
        remove_columns=rows.column_names,
        features=Features({**_features(kind), "reason": Value("string"), "detail": Value("string")}),
        num_proc=num_proc if len(rows) >= PARALLEL_FROM else None,
        desc=f"Checking {name}",
    )
    reasons, details = checked["reason"][:], checked["detail"][:]
    faults = {
        index: RowFault(reason, detail)
        for index, (reason, detail) in enumerate(zip(reasons, details, strict=True))
        if reason is not None
    }
    checked = checked.remove_columns(["reason", "detail"])
    if faults:
        checked = checked.select([index for index in range(len(checked)) if index not in faults])
    return checked, faults


def _check_batch(batch: Mapping[str, list[Any]], *, kind: Kind) -> dict[str, list[Any]]:
    columns = list(batch)
    out: dict[str, list[Any]] = {column: [] for column in (*COLUMNS[kind], "reason", "detail")}
    for values in zip(*batch.values(), strict=True):
        try:
            row = {**_CHECKS[kind](dict(zip(columns, values, strict=True))), "reason": None, "detail": None}
        except RowFault as fault:
            row = {**{column: [] for column in COLUMNS[kind]}, "reason": fault.reason, "detail": fault.detail}
        for column, value in row.items():
            out[column].append(value)
    return out


def _preference(row: Mapping[str, Any]) -> dict[str, Any]:
    return check_pair(row)._asdict()


def _conversation(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"messages": check_conversation(row)}


_CHECKS: dict[Kind, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "preference": _preference,
    "conversation": _conversation,
}


def _features(kind: Kind) -> Features:
    from datasets import Features, Value

    return Features({column: [{"role": Value("string"), "content": Value("string")}] for column in COLUMNS[kind]})
