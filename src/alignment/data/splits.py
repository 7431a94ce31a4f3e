"""Splits of checked rows to splits of tokens, with every row accounted for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from alignment.data.cache import PreparedRows, place_in, prepare_rows
from alignment.data.cleaning import Finding
from alignment.data.load import Splits
from alignment.data.row_findings import OnBadRow
from alignment.data.sources import SourceFacts, without_rows
from alignment.data.token_rules import Rules
from alignment.recipe.dataset_formats import SCORED_FORMATS

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase


class TokenSplits(NamedTuple):
    """What is trained and evaluated on."""

    train: Dataset
    test: Dataset | None
    sources: tuple[SourceFacts, ...]
    """With the rows that were dropped as tokens among `dropped`."""
    prepared: dict[str, PreparedRows]
    """Split -> how its rows became tokens."""
    told: tuple[str, ...]
    """What a reader of the log should know of the rows: those left out, columns not read, caveats, truncation."""
    cleaning: tuple[Finding, ...] = ()
    """What `deduplicate` and `decontaminate` found among the training rows."""


def prepare_splits(
    splits: Splits,
    tokenizer: PreTrainedTokenizerBase,
    rules: Rules,
    *,
    on_bad_row: OnBadRow,
    num_proc: int | None = None,
    cache: Path | None = None,
) -> TokenSplits:
    """Tokenize and judge every split; arguments as for `prepare_rows`.

    Raises:
        DataError: rows that cannot be trained on (unless dropped), or none that can.
    """
    parts = splits.parts
    prepared = {
        name: prepare_rows(
            rows,
            tokenizer,
            rules,
            on_bad_row=on_bad_row,
            num_proc=num_proc,
            cache=cache,
            fingerprint=splits.fingerprints.get(name),
        )
        for name, rows in parts.items()
    }
    sources = splits.sources
    for name, rows in parts.items():
        sources = without_rows(sources, rows, {why: list(bad) for why, bad in prepared[name].findings.bad.items()})
    return TokenSplits(
        prepared["train"].dataset,
        prepared["test"].dataset if "test" in prepared else None,
        sources,
        prepared,
        (
            *_told_of_sources(sources),
            *(f"train: {found.told()}" for found in splits.cleaning),
            *_told_of_splits(parts, prepared),
        ),
        splits.cleaning,
    )


def _told_of_sources(sources: tuple[SourceFacts, ...]) -> Iterator[str]:
    for facts in sources:
        dropped = sum(facts.dropped.values())
        reasons = ", ".join(f"{count:,} x {reason}" for reason, count in facts.dropped.items())
        read = facts.rows + dropped if facts.read is None else facts.read
        yield f"{facts.name}: {read:,} rows" + (f", {dropped:,} dropped ({reasons})" if dropped else "")
        made = f"; {facts.read:,} rows gave {facts.rows:,} pairs" if facts.format in SCORED_FORMATS else ""
        yield f"{facts.name}: read as {facts.format}{made}"
        if facts.unread:
            yield f"{facts.name}: not read: {', '.join(facts.unread)}"


def _told_of_splits(parts: dict[str, Dataset], prepared: dict[str, PreparedRows]) -> Iterator[str]:
    for name, rows in parts.items():
        yield from (f"{name}: {line}" for line in prepared[name].findings.lines(partial(place_in, rows)))
        yield f"{name}: {prepared[name]}"
