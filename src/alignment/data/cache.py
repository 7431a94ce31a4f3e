"""Tokenizing a whole data set once: the ids are kept on disk under a fingerprint of all that decides them."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from alignment.data.arrow import open_rows, write_rows
from alignment.data.disk_cache import keep, passing_folder
from alignment.data.encode import Encoder
from alignment.data.fingerprint import content_fingerprint, digest_of, tokenizer_fingerprint
from alignment.data.form import place_of
from alignment.data.processes import map_batches, workers_for
from alignment.data.row_findings import OnBadRow
from alignment.data.statistics import TokenStatistics, token_statistics
from alignment.data.token_findings import Findings
from alignment.data.token_rules import Rules
from alignment.data.tokenize import ALGORITHM

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase


class PreparedRows(NamedTuple):
    """A tokenized data set."""

    dataset: Dataset
    """The columns of `Encoder.ids`, for the rows that can be trained on, in their order."""
    statistics: TokenStatistics | None
    """`None` when no row can be trained on."""
    findings: Findings
    fingerprint: str
    """sha256 of rows, tokenizer, template, settings and algorithm."""
    cached_in: Path | None
    """Where the ids are kept; `None` without a cache."""
    from_cache: bool
    """Whether they were there already."""

    def __str__(self) -> str:
        if self.cached_in is None:
            return str(self.statistics)
        return f"{self.statistics}\n{'taken from' if self.from_cache else 'kept in'} {self.cached_in}"


def prepare_rows(
    dataset: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    rules: Rules,
    *,
    on_bad_row: OnBadRow = "error",
    num_proc: int | None = None,
    cache: Path | None = None,
    fingerprint: str | None = None,
) -> PreparedRows:
    """Tokenize rows and judge what comes of them, or take the ids of an equal call from disk.

    Of several processes that prepare the same rows, one tokenizes, and the others wait for its lock.

    Args:
        dataset: checked rows.
        tokenizer: with the chat template set.
        rules: which tokens are kept and trained, and thereby for which kind of method.
        on_bad_row: stop at rows that cannot be trained on once they are tokens, or leave them out.
        num_proc: processes for a large data set; `None` for one a core.
        cache: folder of the cache; `None` keeps the ids as long as this process lives.
        fingerprint: of the rows; `None` to read them for it.

    Raises:
        DataError: rows that cannot be trained on (unless dropped), or none that can.
    """
    key = digest_of(
        {
            "algorithm": ALGORITHM,
            "rows": fingerprint or content_fingerprint(dataset),
            "tokenizer": tokenizer_fingerprint(tokenizer),
            "settings": {"rules": type(rules).__name__, **asdict(rules)},
        }
    )
    kept = keep((cache or passing_folder()) / "pairs" / key, partial(_tokenize, dataset, tokenizer, rules, num_proc))
    statistics = kept.facts["statistics"] and TokenStatistics(**kept.facts["statistics"])
    findings = Findings.from_dict(kept.facts["findings"])
    findings.require(on_bad_row, partial(place_in, dataset))
    return PreparedRows(open_rows(kept.folder), statistics, findings, key, kept.folder if cache else None, kept.found)


def place_in(dataset: Dataset, row: int) -> str:
    """What messages call a row of a data set that is to be tokenized."""
    return place_of(dataset[row]["origin"]) if "origin" in dataset.column_names else f"row {row}"


def _tokenize(
    dataset: Dataset, tokenizer: PreTrainedTokenizerBase, rules: Rules, num_proc: int | None, folder: Path
) -> dict[str, Any]:
    """Write the ids of the rows that can be trained on to `folder`; returns statistics and findings."""
    from datasets import Features, List, Value

    encoder = Encoder(tokenizer, rules)
    ids = Features({column: List(Value("int32")) for column in encoder.ids})
    cuts = {column: Value("int32") for column in encoder.cuts}
    findings = {"notes": List(Value("string")), "reason": Value("string"), "detail": Value("string")}
    workers = workers_for(len(dataset), num_proc)
    if workers:
        print(f"Tokenizing {len(dataset):,} rows in {workers} processes (dataset_num_proc) ...", flush=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        columns = Features({**ids, **cuts, **findings})
        tokenized = map_batches(dataset, encoder, columns, scratch=Path(scratch), num_proc=num_proc, desc="Tokenizing")
        found = Findings.of(tokenized)
        if found.bad:
            tokenized = tokenized.select(found.good)
        statistics = token_statistics(tokenized).as_dict() if len(tokenized) else None
        write_rows(folder, ids, tokenized)
    return {"statistics": statistics, "findings": found.as_dict()}
