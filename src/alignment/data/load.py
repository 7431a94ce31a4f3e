"""From the recipe's data section to checked train and test rows, with the facts of where they came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from alignment.data.cleaning import Finding, clean, dropped_rows, kept_rows
from alignment.data.disk_cache import passing_folder
from alignment.data.fingerprint import digest_of
from alignment.data.form import Kind
from alignment.data.formats import Asked
from alignment.data.slices import split_name
from alignment.data.sources import Loaded, Request, SourceFacts, load_source, without_rows
from alignment.errors import DataError, Fault
from alignment.recipe.dataset_formats import SCORED_FORMATS
from alignment.recipe.selection import SelectionSettings

if TYPE_CHECKING:
    from datasets import Dataset

    from alignment.recipe.schema import DataArguments, DatasetMixture, DatasetSource


class Splits(NamedTuple):
    """Checked rows (see `CheckedRows.dataset`) and their sources."""

    train: Dataset
    test: Dataset | None
    sources: tuple[SourceFacts, ...]
    fingerprints: Mapping[str, str]
    """`train` and `test` -> sha256 of all that decides their rows."""
    cleaning: tuple[Finding, ...] = ()
    """What `deduplicate` and `decontaminate` found among the training rows; those to be dropped are gone."""

    @property
    def parts(self) -> dict[str, Dataset]:
        """The splits that there are, by name."""
        return {"train": self.train, **({} if self.test is None else {"test": self.test})}


def load_dataset_splits(data: DataArguments, *, kind: Kind, cache: Path | None = None) -> Splits:
    """Load what the recipe names; every row that comes back can be trained on.

    One `dataset_name` keeps the order of its rows. A `dataset_mixture` takes, of each source, a seeded random
    subset of `weight`, concatenates, shuffles, and splits off the test rows: row for row what upstream's
    loader gives.

    Args:
        data: the recipe's data section.
        kind: what the method trains on.
        cache: folder where checked rows are kept, so that one process checks and all map them; `None` keeps them
            as long as this process lives.

    Raises:
        DataError: data that cannot be found, fetched, read or trained on.
    """
    place = cache or passing_folder()
    load = partial(load_source, data=data, kind=kind, cache=place)
    if data.dataset_mixture is not None:
        train, test, sources = _mix(data.dataset_mixture, [load(request) for request in requests_of(data)])
    else:
        loaded = [load(request) for request in requests_of(data)]
        _refuse_overlap(loaded)
        train, test = loaded[0].dataset, loaded[1].dataset if len(loaded) > 1 else None
        sources = tuple(part.facts for part in loaded)
    if data.selection is not None:
        _require_scored(sources)
    if test is not None:
        test = _first(test, data.max_eval_samples)
    splits = Splits(_first(train, data.max_train_samples), test, sources, _fingerprints(data, sources))
    if data.deduplicate is None and data.decontaminate is None:
        return splits
    return _cleaned(splits, clean(splits.train, test, data, cache=place, key=splits.fingerprints))


def _cleaned(splits: Splits, findings: tuple[Finding, ...]) -> Splits:
    dropped = dropped_rows(findings)
    if not dropped:
        return splits._replace(cleaning=findings)
    kept = kept_rows(len(splits.train), findings)
    fingerprints = {**splits.fingerprints, "train": digest_of([splits.fingerprints["train"], kept])}
    return Splits(
        splits.train.select(kept),
        splits.test,
        without_rows(splits.sources, splits.train, dropped),
        fingerprints,
        findings,
    )


def _fingerprints(data: DataArguments, sources: Sequence[SourceFacts]) -> dict[str, str]:
    """Of each split; without reading its rows again, as they follow from those of the sources and the recipe."""
    mixture = data.dataset_mixture
    parts = [(facts.name, facts.fingerprint, facts.weight) for facts in sources]
    if mixture is not None:
        mixed = digest_of([parts, mixture.seed, mixture.test_split_size])
        parts = [("train", mixed, 1.0), ("test", mixed, 1.0)]
    limits = {"train": data.max_train_samples, "test": data.max_eval_samples}
    return {split: digest_of([split, part, limit]) for (split, limit), part in zip(limits.items(), parts, strict=False)}


def _mix(mixture: DatasetMixture, loaded: Sequence[Loaded]) -> tuple[Dataset, Dataset | None, tuple[SourceFacts, ...]]:
    from datasets import concatenate_datasets

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


def requests_of(data: DataArguments) -> list[Request]:
    """Every split of a source that the recipe reads rows of."""
    if data.dataset_mixture is not None:
        return [_of_mixture(source, data) for source in data.dataset_mixture.datasets]
    assert data.dataset_name is not None, "the recipe's checks see to one of dataset_name and dataset_mixture"
    wanted = [data.dataset_train_split, *([data.dataset_test_split] if data.dataset_test_split else [])]
    asked = Asked(
        dataset_format=data.dataset_format,
        column_map=data.column_map or {},
        selection=data.selection or SelectionSettings(),
    )
    return [Request(data.dataset_name, data.dataset_config, split, data.dataset_revision, asked) for split in wanted]


def _of_mixture(source: DatasetSource, data: DataArguments) -> Request:
    """What a source does not say of its rows, the recipe says of all."""
    column_map = data.column_map if source.column_map is None else source.column_map
    asked = Asked(
        dataset_format=source.dataset_format or data.dataset_format,
        columns=source.columns,
        column_map=column_map or {},
        selection=data.selection or SelectionSettings(),
    )
    return Request(source.id, source.config, source.split, source.revision, asked, source.weight)


def _require_scored(sources: Sequence[SourceFacts]) -> None:
    """What `selection` states must have an effect on some source."""
    if not any(facts.format in SCORED_FORMATS for facts in sources):
        read = ", ".join(f"{facts.name} is read as {facts.format}" for facts in sources)
        remedy = f"remove it, or state dataset_format: {SCORED_FORMATS[0]} if the rows have scored answers too"
        raise DataError(Fault(key="selection", rule=f"has no effect: {read}, which is pairs already", remedy=remedy))


def _refuse_overlap(loaded: Sequence[Loaded]) -> None:
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
