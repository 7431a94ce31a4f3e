"""Tokenising a whole data set once: the ids are kept on disk under a fingerprint of all that decides them."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from alignment.data.check import PARALLEL_FROM, place_of
from alignment.data.encode import Encoder
from alignment.data.findings import Findings, OnBadRow
from alignment.data.fingerprint import content_fingerprint, digest_of, tokenizer_fingerprint
from alignment.data.rules import Rules
from alignment.data.statistics import TokenStatistics, token_statistics
from alignment.data.tokenize import ALGORITHM
from alignment.errors import Fault, SetupError

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

_SEAL = "seal.json"


class PreparedRows(NamedTuple):
    """A tokenised data set."""

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
    main_process_first: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> PreparedRows:
    """Tokenise rows and judge what comes of them, or take the ids of an equal call from disk.

    Args:
        dataset: checked rows.
        tokenizer: with the chat template set.
        rules: which tokens are kept and trained, and thereby for which kind of method.
        on_bad_row: stop at rows that cannot be trained on once they are tokens, or leave them out.
        num_proc: processes for a large data set.
        cache: folder of the cache; `None` keeps nothing.
        main_process_first: under several ranks, a context that lets the main one in first, so that it alone
            tokenises and writes, and the others read.

    Raises:
        DataError: rows that cannot be trained on (unless dropped), or none that can.
    """
    with main_process_first():
        key = digest_of(
            {
                "algorithm": ALGORITHM,
                "rows": content_fingerprint(dataset),
                "tokenizer": tokenizer_fingerprint(tokenizer),
                "settings": {"rules": type(rules).__name__, **asdict(rules)},
            }
        )
        prepared = _prepared(key, partial(_tokenize, dataset, Encoder(tokenizer, rules), key, num_proc), cache)
    prepared.findings.require(on_bad_row, partial(place_in, dataset))
    return prepared


def place_in(dataset: Dataset, row: int) -> str:
    """What messages call a row of a data set that is to be tokenised."""
    return place_of(dataset[row]["origin"]) if "origin" in dataset.column_names else f"row {row}"


def _prepared(key: str, tokenize: Callable[..., _Tokenized], cache: Path | None) -> PreparedRows:
    if cache is None:
        return PreparedRows(*tokenize(), key, None, False)
    entry = cache / "pairs" / key
    if (found := _read(entry)) is not None:
        return PreparedRows(*found, key, entry, True)
    try:
        _write(entry, tokenize)
    except _NothingLeft as nothing:
        return PreparedRows(*nothing.tokenized, key, None, False)
    written = _read(entry)
    assert written is not None, f"{entry} was written and does not read back"
    return PreparedRows(*written, key, entry, False)


class _Tokenized(NamedTuple):
    dataset: Dataset
    statistics: TokenStatistics | None
    findings: Findings


class _NothingLeft(Exception):
    """No row can be trained on."""

    def __init__(self, tokenized: _Tokenized) -> None:
        self.tokenized = tokenized
        super().__init__()


def _tokenize(
    dataset: Dataset, encoder: Encoder, key: str, num_proc: int | None, scratch: Path | None = None
) -> _Tokenized:
    from datasets import Features, List, Value

    ids = {column: List(Value("int32")) for column in encoder.ids}
    cuts = {column: Value("int32") for column in encoder.cuts}
    findings = {"notes": List(Value("string")), "reason": Value("string"), "detail": Value("string")}
    tokenized = dataset.map(
        encoder,
        batched=True,
        remove_columns=dataset.column_names,
        features=Features({**ids, **cuts, **findings}),
        num_proc=num_proc if len(dataset) >= PARALLEL_FROM else None,
        keep_in_memory=scratch is None,
        cache_file_name=str(scratch / "rows.arrow") if scratch else None,
        load_from_cache_file=False,
        new_fingerprint=key[:32],
        desc="Tokenising",
    )
    found = Findings.of(tokenized)
    if found.bad:
        tokenized = tokenized.select(found.good)
    statistics = token_statistics(tokenized) if len(tokenized) else None
    return _Tokenized(tokenized.select_columns(list(encoder.ids)), statistics, found)


def _read(entry: Path) -> _Tokenized | None:
    """An entry of the cache if it is whole; a damaged one is no entry."""
    from datasets import load_from_disk

    if not entry.exists():
        return None
    try:
        seal = json.loads((entry / _SEAL).read_text(encoding="utf-8"))
        if seal["files"] != _digests(entry):
            raise ValueError("its files are not those that were written")
        statistics = seal["statistics"] and TokenStatistics(**seal["statistics"])
        return _Tokenized(load_from_disk(str(entry)), statistics, Findings.from_dict(seal["findings"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        logger.warning("The cached ids in %s are damaged (%s); tokenising again", entry, error)
        return None


def _write(entry: Path, tokenize: Callable[..., _Tokenized]) -> None:
    """Write beside the entry and rename, so that whoever finds the entry finds all of it."""
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".writing-", dir=entry.parent))
    except OSError as error:
        raise SetupError(
            Fault(
                key=str(entry.parent),
                rule=f"cannot be written: {error.strerror}",
                remedy="set ALIGNMENT_CACHE to a folder that can",
            )
        ) from error
    damaged = entry.exists()
    try:
        tokenized, statistics, findings = found = tokenize(scratch)
        if not len(tokenized):
            raise _NothingLeft(found)  # no data set of no rows can be saved
        fresh = scratch / "entry"
        tokenized.save_to_disk(str(fresh))
        seal = {
            "files": _digests(fresh),
            "statistics": statistics and statistics.as_dict(),
            "findings": findings.as_dict(),
        }
        (fresh / _SEAL).write_text(json.dumps(seal, indent=2), encoding="utf-8")
        if damaged:
            entry.rename(scratch / "damaged")
        try:
            fresh.rename(entry)
        except OSError:
            # Another process may have written the same entry meanwhile; anything else is an error.
            if not entry.exists():
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _digests(folder: Path) -> dict[str, str]:
    digests = {}
    for path in sorted(folder.iterdir()):
        if path.name != _SEAL:
            with path.open("rb") as stream:
                digests[path.name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return digests
