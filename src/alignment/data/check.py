"""Every row of a data set checked and brought into one form before anything is trained on it.

The good rows go to an Arrow file as they come, so that a data set of any size takes little memory, here and in every
process that maps the file.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Union

from alignment.data.arrow import open_rows, write_rows
from alignment.data.kept import passing_folder
from alignment.data.messages import CARRIED, NOT_CARRIED, RowFault, pack, read_text, read_tools, without_nulls
from alignment.data.pairs import NOT_READ, SYSTEM, check_conversation, check_pair
from alignment.data.verdict import OnBadRow, Tally, Verdict
from alignment.data.workers import map_batches
from alignment.errors import DataError, Fault, did_you_mean, sentence_of

if TYPE_CHECKING:
    from datasets import Dataset, Features

Kind = Literal["preference", "conversation"]

ALGORITHM = 1
"""Raised whenever the checked form of some row changes, so that rows kept by older versions are not used."""

BATCH = 1000
"""Rows that are checked and written at a time."""

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

Read = Mapping[str, Any] | RowFault
"""A row, or why it could not even be read."""
Placed = tuple[Read, str | None]
"""A row and where it stands, for messages (`pairs.jsonl line 18`)."""
Rows = Union["Dataset", Iterable[Placed]]
"""Typed rows, or Python rows as they come."""


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
    rows: Dataset | Sequence[Read],
    *,
    kind: Kind,
    on_bad_row: OnBadRow = "error",
    name: str = "the data",
    num_proc: int | None = None,
) -> CheckedRows:
    """Check every row, and reduce it to the columns and message keys that training reads.

    Args:
        rows: what was read.
        kind: preference pairs or conversations.
        on_bad_row: stop at bad rows, or leave them out.
        name: what messages call the data (`train of pairs.jsonl`).
        num_proc: processes for a large `Dataset`.

    Raises:
        DataError: no rows, a column that no row has, bad rows (unless dropped), or nothing left after
            dropping. Bad rows are named by their index, counted from 0.
    """
    folder = Path(tempfile.mkdtemp(dir=passing_folder()))
    given: Rows = ((row, None) for row in rows) if isinstance(rows, Sequence) else rows
    verdict = write_checked(given, folder, kind=kind, name=name, num_proc=num_proc)
    verdict.require(on_bad_row, name)
    return CheckedRows(open_rows(folder), verdict.dropped, verdict.unread)


def write_checked(
    rows: Rows,
    folder: Path,
    *,
    kind: Kind,
    name: str,
    columns: Sequence[str] | None = None,
    num_proc: int | None = None,
) -> Verdict:
    """Check every row, and write the good ones to `folder` (see `open_rows`).

    Args:
        rows, kind, name, num_proc: as `check_rows`.
        columns: those to read; `None` for all.

    Raises:
        DataError: a column that no row has, or values that are no text.
    """
    from datasets import Dataset

    if isinstance(rows, Dataset):
        return _write_dataset(rows, folder, kind, name, columns, num_proc)
    return _write_objects(rows, folder, kind, name, columns)


def place_of(origin: Mapping[str, Any]) -> str:
    """What messages call a row: `row 2 of train of pairs.jsonl (pairs.jsonl line 3)`."""
    line = f" ({origin['place']})" if origin["place"] else ""
    return f"row {origin['row']} of {origin['source']}{line}"


def _origin(name: str, index: int, place: str | None = None) -> dict[str, Any]:
    return {"source": name, "row": index, "place": place}


def _require_columns(known: Sequence[str], wanted: Sequence[str] | None, kind: Kind, name: str) -> None:
    unknown = [column for column in wanted or () if column not in known]
    if unknown:
        remedies = {column: did_you_mean(column, known) or f"its columns are {', '.join(known)}" for column in unknown}
        raise DataError(
            [
                Fault(key=f"columns of {name}", value=column, rule="does not exist", remedy=remedy)
                for column, remedy in remedies.items()
            ]
        )
    columns = [column for column in known if wanted is None or column in wanted]
    faults = []
    for alternatives in _REQUIRED[kind]:
        if not any(column in columns for column in alternatives):
            remedy = did_you_mean(alternatives[0], columns) or f"its columns are {', '.join(columns) or 'none'}"
            faults.append(Fault(key=name, rule=f"has no column {' or '.join(alternatives)}", remedy=remedy))
    if faults:
        raise DataError(faults)


def _unread(columns: Mapping[str, Iterable[str]], kind: Kind) -> tuple[str, ...]:
    """Of columns and the keys of the messages in them, those that nothing reads."""
    read = (*_MESSAGES[kind], *_BESIDE)
    keys = [
        f"{column}[].{key}"
        for column, found in columns.items()
        if column in _MESSAGES[kind]
        for key in found
        if key not in _KEYS
    ]
    # JSON can spell half of a surrogate pair, which no terminal shows.
    return tuple(_shown(name) for name in (*(column for column in columns if column not in read), *keys))


def _shown(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _write_objects(
    rows: Iterable[Placed], folder: Path, kind: Kind, name: str, wanted: Sequence[str] | None
) -> Verdict:
    tally, seen, stream = Tally(), _Seen(), iter(enumerate(rows))
    count = 0

    def good() -> Iterator[dict[str, list[Any]]]:
        nonlocal count
        while batch := list(islice(stream, BATCH)):
            count += len(batch)
            checked = []
            for index, (row, place) in batch:
                origin = _origin(name, index, place)
                try:
                    checked.append({**_checked(seen.columns_of(row, wanted), kind), "origin": origin})
                except RowFault as fault:
                    tally.add(fault, place_of(origin))
            yield {column: [row[column] for row in checked] for column in _features(kind)}

    write_rows(folder, _features(kind), good())
    if seen.known:
        _require_columns(list(seen.known), wanted, kind, name)
    columns = {column: keys for column, keys in seen.known.items() if wanted is None or column in wanted}
    return tally.verdict(rows=count, unread=_unread(columns, kind))


class _Seen:
    """The columns of the rows so far, and for each the keys of the messages in it."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, None]] = {}

    def columns_of(self, row: Read, wanted: Sequence[str] | None) -> Mapping[str, Any]:
        """The wanted columns of a row.

        Raises:
            RowFault: that stands in its place.
        """
        if isinstance(row, RowFault):
            raise row
        for column, value in row.items():
            keys = self.known.setdefault(column, {})
            if isinstance(value, list):
                for message in value:
                    if isinstance(message, dict):
                        keys.update(dict.fromkeys(message))
        return row if wanted is None else {column: row[column] for column in wanted if column in row}


def _write_dataset(
    rows: Dataset, folder: Path, kind: Kind, name: str, wanted: Sequence[str] | None, num_proc: int | None
) -> Verdict:
    if rows.column_names:
        _require_columns(rows.column_names, wanted, kind, name)
    rows = rows if wanted is None else rows.select_columns(list(wanted))
    unread = _unread({column: _keys_of_messages(rows, column) for column in rows.column_names}, kind)
    if not len(rows):
        return Tally().verdict(rows=0, unread=unread)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".checking-") as scratch:
        checked = _map(rows, Path(scratch), kind, name, num_proc)
        tally, good = Tally(), []
        table = checked.select_columns(["reason", "detail"]).with_format("arrow")[:]
        for index, reason in enumerate(table["reason"].to_pylist()):
            if reason is None:
                good.append(index)
            else:
                fault = RowFault(reason, table["detail"][index].as_py())
                tally.add(fault, place_of(_origin(name, index)))
        checked = checked.remove_columns(["reason", "detail"])
        write_rows(folder, _features(kind), (checked if len(good) == len(checked) else checked.select(good)))
    return tally.verdict(rows=len(rows), unread=unread)


def _map(rows: Dataset, scratch: Path, kind: Kind, name: str, num_proc: int | None) -> Dataset:
    from datasets import Features, Value

    rows = rows.select_columns([column for column in rows.column_names if column in (*_MESSAGES[kind], *_BESIDE)])
    try:
        return map_batches(
            rows,
            partial(_check_batch, kind=kind, name=name),
            Features({**_features(kind), "reason": Value("string"), "detail": Value("string")}),
            scratch=scratch,
            num_proc=num_proc,
            with_indices=True,
            desc=f"Checking {name}",
        )
    except UnicodeDecodeError as error:
        rule = f"holds text that is not UTF-8: {sentence_of(error)}"
        raise DataError(Fault(key=name, rule=rule, remedy="write it again as UTF-8")) from error


def _keys_of_messages(rows: Dataset, column: str) -> list[str]:
    inner = getattr(rows.features[column], "feature", None)
    return list(inner) if isinstance(inner, Mapping) else []


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
    beside = {"tools": None if tools is None else read_text(json.dumps(tools, ensure_ascii=False), "tools")}
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
