"""From the recipe's data section to checked train and test rows, with the facts of where they came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from alignment.data.arrow import open_rows
from alignment.data.check import ALGORITHM, Kind, Rows, write_checked
from alignment.data.files import FileRows, find_local, read_local
from alignment.data.fingerprint import content_fingerprint, digest_of
from alignment.data.kept import digest_of_file, keep, passing_folder
from alignment.data.remote import read_remote
from alignment.data.slices import slice_of, split_name
from alignment.data.verdict import Verdict
from alignment.errors import DataError, Fault

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
    files: Mapping[str, int] = field(default_factory=dict)
    """Rows of each local file of the split, bad ones included; empty for other sources."""

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.split} of {self.id}"


class Splits(NamedTuple):
    """Checked rows (see `CheckedRows.dataset`) and their sources."""

    train: Dataset
    test: Dataset | None
    sources: tuple[SourceFacts, ...]
    fingerprints: Mapping[str, str]
    """`train` and `test` -> sha256 of all that decides their rows."""


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


def load_dataset_splits(
    data: DataArguments, *, kind: Kind, base: Path | None = None, cache: Path | None = None
) -> Splits:
    """Load what the recipe names; every row that comes back can be trained on.

    One `dataset_name` keeps the order of its rows. A `dataset_mixture` takes, of each source, a seeded random
    subset of `weight`, concatenates, shuffles, and splits off the test rows: row for row what upstream's
    loader gives.

    Args:
        data: the recipe's data section.
        kind: what the method trains on.
        base: the recipe's folder, where relative paths are looked for after the working directory.
        cache: folder where checked rows are kept, so that one process checks and all map them; `None` keeps them
            as long as this process lives.

    Raises:
        DataError: data that cannot be found, fetched, read or trained on.
    """
    load = partial(_load, data=data, kind=kind, base=base, cache=cache or passing_folder())
    if data.dataset_mixture is not None:
        train, test, sources = _mix(data.dataset_mixture, load)
    else:
        assert data.dataset_name is not None, "the recipe's checks see to one of dataset_name and dataset_mixture"
        wanted = [data.dataset_train_split, *([data.dataset_test_split] if data.dataset_test_split else [])]
        loaded = [
            load(_Request(data.dataset_name, data.dataset_config, split, data.dataset_revision)) for split in wanted
        ]
        _refuse_overlap(loaded)
        train, test = loaded[0].dataset, loaded[1].dataset if len(loaded) > 1 else None
        sources = tuple(part.facts for part in loaded)
    if test is not None:
        test = _first(test, data.max_eval_samples)
    return Splits(_first(train, data.max_train_samples), test, sources, _fingerprints(data, sources))


def _fingerprints(data: DataArguments, sources: Sequence[SourceFacts]) -> dict[str, str]:
    """Of each split; without reading its rows again, as they follow from those of the sources and the recipe."""
    mixture = data.dataset_mixture
    parts = [(facts.name, facts.fingerprint, facts.weight) for facts in sources]
    if mixture is not None:
        mixed = digest_of([parts, mixture.seed, mixture.test_split_size])
        parts = [("train", mixed, 1.0), ("test", mixed, 1.0)]
    limits = {"train": data.max_train_samples, "test": data.max_eval_samples}
    return {split: digest_of([split, part, limit]) for (split, limit), part in zip(limits.items(), parts, strict=False)}


def _mix(
    mixture: DatasetMixture, load: Callable[[_Request], _Loaded]
) -> tuple[Dataset, Dataset | None, tuple[SourceFacts, ...]]:
    from datasets import concatenate_datasets

    loaded = [load(_request(source)) for source in mixture.datasets]
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


class _Source(NamedTuple):
    """What a request names, found but not read."""

    rows: Dataset | FileRows
    commit: str | None
    content: Sequence[str]
    """Digests of the files that hold the rows."""
    files: Mapping[str, int]
    """Local file -> rows, as far as it is known without reading them."""


def _load(request: _Request, *, data: DataArguments, kind: Kind, base: Path | None, cache: Path) -> _Loaded:
    name = f"{request.split} of {request.id}"
    source = _source(request, base)
    key = digest_of(
        {
            "algorithm": ALGORITHM,
            "content": source.content,
            "kind": kind,
            "name": name,
            "columns": request.columns,
        }
    )
    num_proc = data.dataset_num_proc
    kept = keep(cache / "rows" / key, lambda folder: _checked(source, request, folder, kind, name, num_proc))
    verdict = Verdict.from_dict(kept.facts["verdict"])
    verdict.require(data.on_bad_row, name)
    facts = SourceFacts(
        id=request.id,
        config=request.config,
        split=request.split,
        revision=source.commit,
        rows=verdict.rows - sum(verdict.dropped.values()),
        fingerprint=kept.facts["fingerprint"],
        weight=request.weight,
        dropped=verdict.dropped,
        unread=verdict.unread,
        files=kept.facts["files"],
    )
    return _Loaded(open_rows(kept.folder), facts, range(*kept.facts["taken"]))


def _source(request: _Request, base: Path | None) -> _Source:
    path, split = find_local(request.id, base), split_name(request.split)
    if path is None:
        rows, commit = read_remote(request.id, split, request.config, request.revision)
        return _Source(rows, commit, _content(rows), {})
    if request.revision is not None:
        raise DataError(
            Fault(
                key=request.id,
                rule=f"is local, so it has no revision {request.revision}",
                remedy="leave the revision out, or rename the local folder if the Hub was meant",
            )
        )
    local = read_local(path, split, request.config)
    return _Source(local.rows, None, _content(local.rows), local.files)


def _content(rows: Dataset | FileRows) -> list[str]:
    files = rows.files if isinstance(rows, FileRows) else [Path(file["filename"]) for file in rows.cache_files]
    return [digest_of_file(file) for file in files] or [content_fingerprint(rows)]


def _checked(
    source: _Source, request: _Request, folder: Path, kind: Kind, name: str, num_proc: int | None
) -> dict[str, Any]:
    """Check the requested rows and write the good ones to `folder`; returns what `_load` needs to know of them."""
    rows, files = source.rows, dict(source.files)
    part: Rows = rows
    taken = None
    if split_name(request.split) != request.split:
        total = sum(1 for _ in rows) if isinstance(rows, FileRows) else len(rows)
        taken = slice_of(request.split, total)
        part = islice(rows, taken.start, taken.stop) if isinstance(rows, FileRows) else rows.select(taken)
        files = dict(rows.counts) if isinstance(rows, FileRows) else files
    verdict = write_checked(part, folder, kind=kind, name=name, columns=request.columns, num_proc=num_proc)
    taken = range(verdict.rows) if taken is None else taken
    files = files or (dict(rows.counts) if isinstance(rows, FileRows) else {})
    _refuse_empty(files, name)
    return {
        "verdict": verdict.as_dict(),
        "fingerprint": content_fingerprint(open_rows(folder)),
        "taken": [taken.start, taken.stop],
        "files": files,
    }


def _refuse_empty(files: Mapping[str, int], name: str) -> None:
    """One file without rows among others that have some is a copy that did not arrive."""
    empty = next((file for file, rows in files.items() if not rows), None)
    if empty is not None and any(files.values()):
        raise DataError(Fault(key=name, value=empty, rule="has no rows", remedy="fetch it again, or remove it"))


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


def _first(dataset: Dataset, rows: int | None) -> Dataset:
    return dataset if rows is None or rows >= len(dataset) else dataset.select(range(rows))
