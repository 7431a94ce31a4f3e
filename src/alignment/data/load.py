"""From the recipe's data section to checked train and test rows, with the facts of where they came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from alignment.data.check import Kind, Rows, check_rows, column_names
from alignment.data.files import JsonRows, find_local, read_local
from alignment.data.fingerprint import content_fingerprint
from alignment.data.pairs import RowFault
from alignment.data.remote import read_remote
from alignment.data.slices import slice_of, split_name
from alignment.errors import DataError, Fault, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset

    from alignment.recipe.schema import DataArguments, DatasetMixture, DatasetSource


@dataclass(frozen=True, kw_only=True)
class SourceFacts:
    """One source as it was read, for the run manifest."""

    id: str
    """Hub id or local path, as the recipe has it."""
    config: str | None
    split: str
    revision: str | None
    """Commit on the Hub; `None` for local data."""
    rows: int
    """Good rows of the split, before `weight`."""
    fingerprint: str
    """sha256 of the good rows."""
    weight: float
    """Share of the rows that was kept."""
    dropped: Mapping[str, int]
    """Bad rows left out, by reason."""
    unread: tuple[str, ...] = ()
    """Columns, and keys of messages, that training has no use for."""

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.split} of {self.id}"


class Splits(NamedTuple):
    """Checked rows (see `CheckedRows.dataset`) and their sources."""

    train: Dataset
    test: Dataset | None
    sources: tuple[SourceFacts, ...]


class _Request(NamedTuple):
    id: str
    config: str | None
    split: str
    revision: str | None
    columns: tuple[str, ...] | None = None
    weight: float = 1.0


class _Loaded(NamedTuple):
    dataset: Dataset
    facts: SourceFacts
    taken: range
    """Which rows of the split, as it was stored."""


def load_dataset_splits(data: DataArguments, *, kind: Kind, base: Path | None = None) -> Splits:
    """Load what the recipe names; every row that comes back can be trained on.

    One `dataset_name` keeps the order of its rows. A `dataset_mixture` takes, of each source, a seeded random
    subset of `weight`, concatenates, shuffles, and splits off the test rows: row for row what upstream's
    loader gives.

    Args:
        data: the recipe's data section.
        kind: what the method trains on.
        base: the recipe's folder, where relative paths are looked for after the working directory.

    Raises:
        DataError: data that cannot be found, fetched, read or trained on.
    """
    if data.dataset_mixture is not None:
        train, test, sources = _mix(data.dataset_mixture, data, kind, base)
    else:
        assert data.dataset_name is not None, "the recipe's checks see to one of dataset_name and dataset_mixture"
        wanted = [data.dataset_train_split, *([data.dataset_test_split] if data.dataset_test_split else [])]
        loaded = [
            _load(
                _Request(data.dataset_name, data.dataset_config, split, data.dataset_revision),
                data,
                kind,
                base,
            )
            for split in wanted
        ]
        _refuse_overlap(loaded)
        train, test = loaded[0].dataset, loaded[1].dataset if len(loaded) > 1 else None
        sources = tuple(part.facts for part in loaded)
    if test is not None:
        test = _first(test, data.max_eval_samples)
    return Splits(_first(train, data.max_train_samples), test, sources)


def _mix(
    mixture: DatasetMixture, data: DataArguments, kind: Kind, base: Path | None
) -> tuple[Dataset, Dataset | None, tuple[SourceFacts, ...]]:
    from datasets import concatenate_datasets

    loaded = [_load(_request(source), data, kind, base) for source in mixture.datasets]
    sources = tuple(part.facts for part in loaded)
    parts = [_subset(part.dataset, part.facts, mixture.seed) for part in loaded]
    mixed = concatenate_datasets(parts).shuffle(seed=mixture.seed)
    if mixture.test_split_size is None:
        return mixed, None, sources
    try:
        split = mixed.train_test_split(test_size=mixture.test_split_size, seed=mixture.seed)
    except ValueError as error:
        raise DataError(
            Fault(
                key="dataset_mixture.test_split_size",
                value=mixture.test_split_size,
                rule=f"cannot be taken from {len(mixed)} rows: both splits need a row",
            )
        ) from error
    return split["train"], split["test"], sources


def _subset(dataset: Dataset, facts: SourceFacts, seed: int) -> Dataset:
    kept = int(len(dataset) * facts.weight)
    if kept == 0:
        raise DataError(
            Fault(
                key=f"weight of {facts.id}",
                value=facts.weight,
                rule=f"keeps none of its {len(dataset)} rows",
                remedy="raise it, or leave the source out",
            )
        )
    return dataset.shuffle(seed=seed).select(range(kept))


def _request(source: DatasetSource) -> _Request:
    return _Request(source.id, source.config, source.split, source.revision, source.columns, source.weight)


def _load(request: _Request, data: DataArguments, kind: Kind, base: Path | None) -> _Loaded:
    name = f"{request.split} of {request.id}"
    path = find_local(request.id, base)
    rows: Rows
    places, commit = None, None
    if path is None:
        rows, commit = read_remote(request.id, split_name(request.split), request.config, request.revision)
    elif request.revision is not None:
        raise DataError(
            Fault(
                key=request.id,
                rule=f"is local, so it has no revision {request.revision}",
                remedy="leave the revision out, or rename the local folder if the Hub was meant",
            )
        )
    else:
        local = read_local(path, split_name(request.split), request.config)
        rows, places = local if isinstance(local, JsonRows) else (local, None)
    taken = slice_of(request.split, len(rows))
    if len(taken) < len(rows):
        rows = rows[taken.start : taken.stop] if isinstance(rows, Sequence) else rows.select(taken)
        places = places and places[taken.start : taken.stop]
    if request.columns is not None:
        rows = _keep_columns(rows, request.columns, name)
    checked = check_rows(
        rows, kind=kind, on_bad_row=data.on_bad_row, name=name, places=places, num_proc=data.dataset_num_proc
    )
    facts = SourceFacts(
        id=request.id,
        config=request.config,
        split=request.split,
        revision=commit,
        rows=len(checked.dataset),
        fingerprint=content_fingerprint(checked.dataset),
        weight=request.weight,
        dropped=checked.dropped,
        unread=checked.unread,
    )
    return _Loaded(checked.dataset, facts, taken)


def _refuse_overlap(loaded: Sequence[_Loaded]) -> None:
    """Rows that are trained on say nothing when they are evaluated on."""
    if len(loaded) < 2:
        return
    (train, test), (one, other) = ([part.facts for part in loaded], [part.taken for part in loaded])
    shared = min(one.stop, other.stop) - max(one.start, other.start)
    if split_name(train.split) == split_name(test.split) and shared > 0:
        raise DataError(
            Fault(
                key="dataset_test_split",
                value=test.split,
                rule=f"shares {shared} rows with the split {train.split} that is trained on",
                remedy="cut it in two, such as train[:95%] and train[95%:]",
            )
        )


def _keep_columns(rows: Rows, columns: tuple[str, ...], name: str) -> Rows:
    known = column_names(rows)
    unknown = [column for column in columns if column not in known]
    if unknown:
        remedies = {column: did_you_mean(column, known) or f"its columns are {', '.join(known)}" for column in unknown}
        raise DataError(
            [
                Fault(key=f"columns of {name}", value=column, rule="does not exist", remedy=remedy)
                for column, remedy in remedies.items()
            ]
        )
    if isinstance(rows, Sequence):
        return [row if isinstance(row, RowFault) else {c: row[c] for c in columns if c in row} for row in rows]
    return rows.select_columns(list(columns))


def _first(dataset: Dataset, rows: int | None) -> Dataset:
    return dataset if rows is None or rows >= len(dataset) else dataset.select(range(rows))
