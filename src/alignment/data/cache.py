"""Tokenising a whole data set once: the ids are kept on disk under a fingerprint of all that decides them."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from alignment.data.check import PARALLEL_FROM, SHOWN
from alignment.data.fingerprint import content_fingerprint, digest_of, tokenizer_fingerprint
from alignment.data.rules import TokenRules
from alignment.data.statistics import TokenStatistics, token_statistics
from alignment.data.tokenize import ALGORITHM, tokenize_pair
from alignment.errors import DataError, Fault, SetupError

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger(__name__)

_IDS = ("prompt_ids", "chosen_ids", "rejected_ids")
_CUTS = ("cut_prompt", "cut_chosen", "cut_rejected")
_SEAL = "seal.json"


class PreparedPairs(NamedTuple):
    """A tokenised data set."""

    dataset: Dataset
    """`prompt_ids`, `chosen_ids`, `rejected_ids`, in the order of the rows."""
    statistics: TokenStatistics
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


def prepare_pairs(
    dataset: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    rules: TokenRules,
    *,
    num_proc: int | None = None,
    cache: Path | None = None,
    main_process_first: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> PreparedPairs:
    """Tokenise preference rows, or take the ids of an equal call from disk.

    Args:
        dataset: checked preference rows.
        tokenizer: with the chat template set.
        rules: which tokens are kept and scored.
        num_proc: processes for a large data set.
        cache: folder of the cache; `None` keeps nothing.
        main_process_first: under several ranks, a context that lets the main one in first, so that it alone
            tokenises and writes, and the others read.

    Raises:
        DataError: rows that the template cannot render.
    """
    tokenize = partial(_tokenize, dataset, tokenizer, rules, num_proc)
    with main_process_first():
        key = digest_of(
            {
                "algorithm": ALGORITHM,
                "rows": content_fingerprint(dataset),
                "tokenizer": tokenizer_fingerprint(tokenizer),
                "settings": asdict(rules),
            }
        )
        if cache is None:
            return PreparedPairs(*tokenize(), key, None, False)
        entry = cache / "pairs" / key
        if (found := _read(entry)) is not None:
            return PreparedPairs(*found, key, entry, True)
        _write(entry, tokenize)
        written = _read(entry)
        assert written is not None, f"{entry} was written and does not read back"
        return PreparedPairs(*written, key, entry, False)


def _tokenize(
    dataset: Dataset,
    tokenizer: PreTrainedTokenizerBase,
    rules: TokenRules,
    num_proc: int | None,
    scratch: Path | None = None,
) -> tuple[Dataset, TokenStatistics]:
    from datasets import Features, List, Value

    ids = {column: List(Value("int32")) for column in _IDS}
    cuts = {column: Value("int32") for column in _CUTS}
    tokenized = dataset.map(
        partial(_tokenize_row, tokenizer=tokenizer, rules=rules),
        remove_columns=dataset.column_names,
        features=Features({**ids, **cuts, "fault": Value("string")}),
        num_proc=num_proc if len(dataset) >= PARALLEL_FROM else None,
        keep_in_memory=scratch is None,
        cache_file_name=str(scratch / "rows.arrow") if scratch else None,
        load_from_cache_file=False,
        desc="Tokenising pairs",
    )
    faults = {index: fault for index, fault in enumerate(tokenized["fault"]) if fault is not None}
    if faults:
        listed = [Fault(key=f"row {index}", rule=f"is bad: {faults[index]}") for index in list(faults)[:SHOWN]]
        raise DataError([*listed, Fault(key="tokenisation", rule=f"failed for {len(faults)} of {len(dataset)} rows")])
    return tokenized.select_columns(list(_IDS)), token_statistics(tokenized)


def _tokenize_row(row: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase, rules: TokenRules) -> dict[str, Any]:
    try:
        return {**tokenize_pair(row, tokenizer, rules)._asdict(), "fault": None}
    except DataError as error:
        # Raised here, the error would lose the row's index and the other bad rows.
        return {**{column: [] for column in _IDS}, **dict.fromkeys(_CUTS, 0), "fault": str(error.faults[0])}


def _read(entry: Path) -> tuple[Dataset, TokenStatistics] | None:
    """An entry of the cache if it is whole; a damaged one is no entry."""
    from datasets import load_from_disk

    if not entry.exists():
        return None
    try:
        seal = json.loads((entry / _SEAL).read_text(encoding="utf-8"))
        if seal["files"] != _digests(entry):
            raise ValueError("its files are not those that were written")
        return load_from_disk(str(entry)), TokenStatistics(**seal["statistics"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        logger.warning("The cached ids in %s are damaged (%s); tokenising again", entry, error)
        return None


def _write(entry: Path, tokenize: Callable[[Path], tuple[Dataset, TokenStatistics]]) -> None:
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
        tokenized, statistics = tokenize(scratch)
        fresh = scratch / "entry"
        tokenized.save_to_disk(str(fresh))
        seal = {"files": _digests(fresh), "statistics": statistics.as_dict()}
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
