"""Every row of a data set checked and brought into one form before anything is trained on it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Union

from alignment.data.messages import CARRIED, NOT_CARRIED, RowFault, pack, read_tools, without_nulls
from alignment.data.pairs import NOT_READ, SYSTEM, check_conversation, check_pair
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
"""The columns of checked rows that hold a list of messages each."""

_REQUIRED: dict[Kind, tuple[tuple[str, ...], ...]] = {
    "preference": (("chosen",), ("rejected",)),
    "conversation": (("messages", "completion", "chosen"),),
}
_MESSAGES: dict[Kind, tuple[str, ...]] = {
    "preference": ("prompt", "chosen", "rejected"),
    "conversation": ("messages", "prompt", "completion", "chosen"),
}
_BESIDE = ("tools", *SYSTEM, *NOT_READ)
_KEYS = ("role", "content", *CARRIED, *NOT_CARRIED)

Rows = Union["Dataset", Sequence[Mapping[str, Any] | RowFault]]
"""Typed rows, or Python rows in which a `RowFault` stands for one that could not even be read."""


class CheckedRows(NamedTuple):
    """The good rows, in their order, and how many were dropped for which reason."""

    dataset: Dataset
    """Preference: `prompt` (every turn before the answer), `chosen`, `rejected` (one assistant message each).
    Conversation: `messages`, and `first_trained`, from which message on answers may be trained. Messages are packed
    (`alignment.data.messages.pack`). Both: `tools` as JSON text or null, and `origin`, which row of what this was."""
    dropped: Mapping[str, int]
    unread: tuple[str, ...] = ()
    """Columns, and keys of messages, that training has no use for."""


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
        dataset, faults = _check_objects(rows, kind, name, places)
    unread = _unread(rows, columns, kind)
    if not faults:
        return CheckedRows(dataset, {}, unread)
    counts = dict(Counter(fault.reason for fault in faults.values()).most_common())
    summary = ", ".join(f"{count} x {reason}" for reason, count in counts.items())
    if on_bad_row == "error":
        listed = [
            Fault(key=place_of(_origin(name, index, places)), rule=f"is bad: {fault}")
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
    return CheckedRows(dataset, counts, unread)


def place_of(origin: Mapping[str, Any]) -> str:
    """What messages call a row: `row 2 of train of pairs.jsonl (pairs.jsonl line 3)`."""
    line = f" ({origin['place']})" if origin["place"] else ""
    return f"row {origin['row']} of {origin['source']}{line}"


def _origin(name: str, index: int, places: Sequence[str] | None = None) -> dict[str, Any]:
    return {"source": name, "row": index, "place": places[index] if places else None}


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


def _unread(rows: Rows, columns: Sequence[str], kind: Kind) -> tuple[str, ...]:
    """Columns and keys of messages that nothing reads."""
    read = (*_MESSAGES[kind], *_BESIDE)
    keys = {
        f"{column}[].{key}": None
        for column in _MESSAGES[kind]
        if column in columns
        for key in _keys_of_messages(rows, column)
        if key not in _KEYS
    }
    return (*(column for column in columns if column not in read), *keys)


def _keys_of_messages(rows: Rows, column: str) -> list[str]:
    if not isinstance(rows, Sequence):
        inner = getattr(rows.features[column], "feature", None)
        return list(inner) if isinstance(inner, Mapping) else []
    lists = (row.get(column) for row in rows if isinstance(row, Mapping))
    messages = (message for value in lists if isinstance(value, list) for message in value)
    return list(dict.fromkeys(key for message in messages if isinstance(message, Mapping) for key in message))


def _check_objects(
    rows: Sequence[Mapping[str, Any] | RowFault], kind: Kind, name: str, places: Sequence[str] | None
) -> tuple[Dataset, dict[int, RowFault]]:
    from datasets import Dataset

    good: list[dict[str, Any]] = []
    faults: dict[int, RowFault] = {}
    for index, row in enumerate(rows):
        try:
            if isinstance(row, RowFault):
                raise row
            good.append({**_checked(row, kind), "origin": _origin(name, index, places)})
        except RowFault as fault:
            faults[index] = fault
    features = _features(kind)
    columns = {column: [row[column] for row in good] for column in features}
    return Dataset.from_dict(columns, features=features), faults


def _check_dataset(rows: Dataset, kind: Kind, name: str, num_proc: int | None) -> tuple[Dataset, dict[int, RowFault]]:
    from datasets import Features, Value

    read = (*_MESSAGES[kind], *_BESIDE)
    rows = rows.select_columns([column for column in rows.column_names if column in read])
    checked = rows.map(
        partial(_check_batch, kind=kind, name=name),
        batched=True,
        with_indices=True,
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


def _check_batch(
    batch: Mapping[str, list[Any]], indices: Sequence[int], *, kind: Kind, name: str
) -> dict[str, list[Any]]:
    columns = list(batch)
    empty = dict.fromkeys(_features(kind))
    out: dict[str, list[Any]] = {column: [] for column in (*empty, "reason", "detail")}
    for index, *values in zip(indices, *batch.values(), strict=True):
        given = {column: without_nulls(value) for column, value in zip(columns, values, strict=True)}
        try:
            row = {**_checked(given, kind), "origin": _origin(name, index), "reason": None, "detail": None}
        except RowFault as fault:
            row = {**empty, "reason": fault.reason, "detail": fault.detail}
        for column, value in row.items():
            out[column].append(value)
    return out


def _checked(row: Mapping[str, Any], kind: Kind) -> dict[str, Any]:
    """The columns of a row that is fit to train on, but for its origin."""
    tools = read_tools(row.get("tools"))
    beside = {"tools": None if tools is None else json.dumps(tools, ensure_ascii=False)}
    if kind == "preference":
        return {**{side: pack(messages) for side, messages in check_pair(row)._asdict().items()}, **beside}
    messages, first_trained = check_conversation(row)
    return {"messages": pack(messages), "first_trained": first_trained, **beside}


def _features(kind: Kind) -> Features:
    from datasets import Features, Value

    text = Value("string")
    messages = {column: [{"role": text, "content": text, "more": text}] for column in COLUMNS[kind]}
    counted = {"first_trained": Value("int32")} if kind == "conversation" else {}
    origin = {"source": text, "row": Value("int64"), "place": text}
    return Features({**messages, **counted, "tools": text, "origin": origin})
