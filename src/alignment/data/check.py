"""Every row of a data set checked and brought into one form before anything is trained on it.

The good rows go to an Arrow file as they come, so that a data set of any size takes little memory, here and in every
process that maps the file.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Union

from alignment.data.arrow import open_rows, write_rows
from alignment.data.disk_cache import passing_folder
from alignment.data.form import Kind, features_of, origin_of, place_of
from alignment.data.formats import SAMPLE, Asked, RowReader, reader_for, require_columns, unread_of
from alignment.data.messages import RowFault, without_nulls
from alignment.data.processes import map_batches
from alignment.data.row_findings import OnBadRow, Tally, Verdict
from alignment.errors import DataError, Fault, sentence_of

if TYPE_CHECKING:
    from datasets import Dataset

ALGORITHM = 3
"""Raised whenever the checked form of some row changes, so that rows kept by older versions are not used."""

BATCH = 1000
"""Rows that are checked and written at a time."""

Read = Mapping[str, Any] | RowFault
"""A row, or why it could not even be read."""
Placed = tuple[Read, str | None]
"""A row and where it stands, for messages (`pairs.jsonl line 18`)."""
Rows = Union["Dataset", Iterable[Placed]]
"""Typed rows, or Python rows as they come."""


EVERYTHING = Asked()
"""All columns, in whatever format they are."""


class CheckedRows(NamedTuple):
    """The good rows, in their order, and how many were dropped for which reason."""

    dataset: Dataset
    """Preference: `prompt` (every turn before the answer), `chosen`, `rejected` (one assistant message each).
    Conversation: `messages`, and `first_trained`, from which message on answers may be trained. Messages are packed
    (`alignment.data.messages.pack`). Both: `tools` as JSON text or null, and `origin`, which row of what this was."""
    dropped: Mapping[str, int]
    unread: tuple[str, ...] = ()
    """Columns, and keys of messages, that training has no use for."""
    format: str = ""
    """The format in which the rows were read."""


def check_rows(
    rows: Dataset | Sequence[Read],
    *,
    kind: Kind,
    on_bad_row: OnBadRow = "error",
    name: str = "the data",
    asked: Asked = EVERYTHING,
    num_proc: int | None = None,
) -> CheckedRows:
    """Recognize the format of the rows, check each, and reduce it to the columns and keys that training reads.

    Args:
        rows: what was read.
        kind: preference pairs or conversations.
        on_bad_row: stop at bad rows, or leave them out.
        name: what messages call the data (`train of pairs.jsonl`).
        asked: which columns are read, and in which format.
        num_proc: processes for a large `Dataset`.

    Raises:
        DataError: no rows, a format that is unknown or ambiguous, a column that no row has, bad rows (unless
            dropped), or nothing left after dropping. Bad rows are named by their index, counted from 0.
    """
    folder = Path(tempfile.mkdtemp(dir=passing_folder()))
    given: Rows = ((row, None) for row in rows) if isinstance(rows, Sequence) else rows
    verdict = write_checked(given, folder, kind=kind, name=name, asked=asked, num_proc=num_proc)
    verdict.require(on_bad_row, name)
    return CheckedRows(open_rows(folder), verdict.dropped, verdict.unread, verdict.format)


def write_checked(
    rows: Rows, folder: Path, *, kind: Kind, name: str, asked: Asked = EVERYTHING, num_proc: int | None = None
) -> Verdict:
    """Check every row, and write the good ones to `folder` (see `open_rows`). Arguments as for `check_rows`.

    Raises:
        DataError: a format that is unknown or ambiguous, a column that no row has, or values that are no text.
    """
    from datasets import Dataset

    if isinstance(rows, Dataset):
        return _write_dataset(rows, folder, kind, name, asked, num_proc)
    return _write_objects(rows, folder, kind, name, asked)


def _write_objects(rows: Iterable[Placed], folder: Path, kind: Kind, name: str, asked: Asked) -> Verdict:
    tally, seen, stream = Tally(), _Seen(), iter(rows)
    first = list(islice(stream, SAMPLE))
    sample = [row if isinstance(row, Mapping) else {} for row, _ in first]
    reader = reader_for(sample, list(dict.fromkeys(chain(*sample))), kind=kind, asked=asked, name=name)
    numbered = enumerate(chain(first, stream))
    count = written = 0

    def good() -> Iterator[dict[str, list[Any]]]:
        nonlocal count, written
        while batch := list(islice(numbered, BATCH)):
            count += len(batch)
            checked: list[dict[str, Any]] = []
            for index, (row, place) in batch:
                origin = origin_of(name, index, place)
                try:
                    checked.extend({**found, "origin": origin} for found in reader(seen.looked_at(row)))
                except RowFault as fault:
                    tally.add(fault, place_of(origin))
            written += len(checked)
            yield {column: [row[column] for row in checked] for column in features_of(kind)}

    write_rows(folder, features_of(kind), good())
    if seen.known:
        require_columns(list(seen.known), asked, name)
    return tally.verdict(rows=count, unread=unread_of(seen.known, reader), format=reader.format_name, good=written)


class _Seen:
    """The columns of the rows so far, and for each the keys of the messages in it."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, None]] = {}

    def looked_at(self, row: Read) -> Mapping[str, Any]:
        """The row itself.

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
        return row


def _write_dataset(rows: Dataset, folder: Path, kind: Kind, name: str, asked: Asked, num_proc: int | None) -> Verdict:
    if rows.column_names:
        require_columns(rows.column_names, asked, name)
    with _as_text(name):
        sample = [without_nulls(row) for row in rows.select(range(min(SAMPLE, len(rows))))]
    reader = reader_for(sample, rows.column_names, kind=kind, asked=asked, name=name)
    unread = unread_of({column: _keys_of_messages(rows, column) for column in rows.column_names}, reader)
    if not len(rows):
        return Tally().verdict(rows=0, unread=unread, format=reader.format_name)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".checking-") as scratch:
        checked = _map(rows, Path(scratch), reader, name, num_proc)
        tally, good = Tally(), []
        table = checked.select_columns(["reason", "detail", "origin"]).with_format("arrow")[:]
        for index, reason in enumerate(table["reason"].to_pylist()):
            if reason is None:
                good.append(index)
            else:
                fault = RowFault(reason, table["detail"][index].as_py())
                tally.add(fault, place_of(table["origin"][index].as_py()))
        checked = checked.remove_columns(["reason", "detail"])
        write_rows(folder, features_of(kind), (checked if len(good) == len(checked) else checked.select(good)))
    return tally.verdict(rows=len(rows), unread=unread, format=reader.format_name, good=len(good))


def _map(rows: Dataset, scratch: Path, reader: RowReader, name: str, num_proc: int | None) -> Dataset:
    from datasets import Features, Value

    rows = rows.select_columns([column for column in rows.column_names if reader.looks_at(column)])
    with _as_text(name):
        return map_batches(
            rows,
            partial(_check_batch, reader=reader, name=name),
            Features({**features_of(reader.kind), "reason": Value("string"), "detail": Value("string")}),
            scratch=scratch,
            num_proc=num_proc,
            with_indices=True,
            desc=f"Checking {name}",
        )


@contextmanager
def _as_text(name: str) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        rule = f"holds text that is not UTF-8: {sentence_of(error)}"
        raise DataError(Fault(key=name, rule=rule, remedy="write it again as UTF-8")) from error


def _keys_of_messages(rows: Dataset, column: str) -> list[str]:
    inner = getattr(rows.features[column], "feature", None)
    return list(inner) if isinstance(inner, Mapping) else []


def _check_batch(
    batch: Mapping[str, list[Any]], indices: Sequence[int], *, reader: RowReader, name: str
) -> dict[str, list[Any]]:
    columns = list(batch)
    empty = dict.fromkeys(features_of(reader.kind))
    out: dict[str, list[Any]] = {column: [] for column in (*empty, "reason", "detail")}
    for index, *values in zip(indices, *batch.values(), strict=True):
        given = {column: without_nulls(value) for column, value in zip(columns, values, strict=True)}
        told = {"origin": origin_of(name, index), "reason": None, "detail": None}
        try:
            found = [{**row, **told} for row in reader(given)]
        except RowFault as fault:
            found = [{**empty, **told, "reason": fault.reason, "detail": fault.detail}]
        for row in found:
            for column, value in row.items():
                out[column].append(value)
    return out
