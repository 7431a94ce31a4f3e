"""Texts that a data set holds more than once: character for character, or nearly.

Two texts are near duplicates when the Jaccard similarity of their sets of word `SHINGLE`-grams (see
`alignment.data.words`) is at least what is asked for: shared runs, divided by the runs of either. MinHash with banding
(Broder 1997; Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, chapter 3) finds the candidates, and their
similarity is then computed exactly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from alignment.data.words import Words

if TYPE_CHECKING:
    from alignment.data.words import Hashes

SHINGLE = 5
PERMUTATIONS = 128
SEED = 0
_BATCH = 1000
_BUCKET = 8
"""Texts that one bucket holds: the first ones. Without a limit, texts that are all alike would take quadratic time."""
_COMPARED = 8
"""Candidates of a text that are compared exactly: the most similar ones by their MinHash."""
_SLACK = 0.12
"""How far below the similarity asked for an estimate may be; its standard deviation is at most 0.044."""


class Duplicate(NamedTuple):
    """A text that equals, or nearly equals, an earlier one: numbers of both."""

    row: int
    of: int
    similarity: float
    """1 for exact duplicates."""


def exact_duplicates(texts: Iterable[str]) -> list[Duplicate]:
    """The texts that an earlier one equals, each with the first of its kind.

    Args:
        texts: looked at once and not kept.
    """
    first: dict[bytes, int] = {}
    found = []
    for row, text in enumerate(texts):
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if (of := first.setdefault(digest, row)) != row:
            found.append(Duplicate(row, of, 1.0))
    return found


def near_duplicates(texts: Sequence[str], *, similarity: float) -> list[Duplicate]:
    """The texts to which an earlier one, itself no duplicate, is at least so similar.

    Time is linear in the words, memory some 3 kB a text.

    Args:
        texts: read once in their order, and by number where two are to be compared; texts without words are left out.
        similarity: from 0.5 to 1.
    """
    import numpy as np

    bands = _bands(similarity)
    buckets: dict[tuple[int, bytes], list[int]] = {}
    signatures = np.zeros((len(texts), PERMUTATIONS), np.uint32)
    found = []
    for row, signature in _signatures(texts):
        signatures[row] = signature
        keys = list(enumerate(band.tobytes() for band in np.split(signature, bands)))
        candidates = {other for key in keys for other in buckets.get(key, ())}
        likely = _likely(signature, signatures, sorted(candidates), similarity - _SLACK)
        if (duplicate := _nearest(texts, row, likely)) is not None and duplicate.similarity >= similarity:
            found.append(duplicate)
            continue
        for key in keys:
            bucket = buckets.setdefault(key, [])
            if len(bucket) < _BUCKET:
                bucket.append(row)
    return found


def _bands(similarity: float) -> int:
    """The fewest bands that let at most one in a thousand pairs of such similarity pass by."""
    fits = (n for n in (4, 8, 16, 32, 64) if (1 - similarity ** (PERMUTATIONS // n)) ** n <= 1e-3)
    return next(fits, PERMUTATIONS)


def _signatures(texts: Iterable[str]) -> Iterator[tuple[int, Any]]:
    """Number and MinHash of every text that has words."""
    import numpy as np
    from rensa import RMinHash

    numbered = enumerate(texts)
    while batch := list(islice(numbered, _BATCH)):
        rows = [(row, hashes) for row, hashes in ((row, _shingles(text)) for row, text in batch) if len(hashes)]
        if not rows:
            continue
        ends = np.cumsum([0, *(len(hashes) for _, hashes in rows)]).astype(np.uint64)
        flat = np.concatenate([hashes for _, hashes in rows])
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(flat, ends, num_perm=PERMUTATIONS, seed=SEED)
        for (row, _), signature in zip(rows, matrix.to_rows(), strict=True):
            yield row, np.array(signature, np.uint32)


def _shingles(text: str) -> Hashes:
    """The set of runs of `SHINGLE` words, by hash; a shorter text is one run."""
    import numpy as np

    words = Words.of(text)
    return np.unique(words.grams(min(SHINGLE, len(words)))) if len(words) else np.zeros(0, np.uint64)


def _likely(signature: Any, signatures: Any, candidates: list[int], least: float) -> list[int]:
    """The candidates whose estimated similarity is at least so high, the highest first."""
    if not candidates:
        return []
    shares = (signatures[candidates] == signature).mean(axis=1)
    order = sorted(range(len(candidates)), key=lambda at: -shares[at])[:_COMPARED]
    return [candidates[at] for at in order if shares[at] >= least]


def _nearest(texts: Sequence[str], row: int, candidates: Sequence[int]) -> Duplicate | None:
    """The most similar candidate, the earliest of several."""
    if not candidates:
        return None
    shingles = _shingles(texts[row])
    measured = [Duplicate(row, of, _jaccard(shingles, _shingles(texts[of]))) for of in candidates]
    return min(measured, key=lambda found: (-found.similarity, found.of))


def _jaccard(left: Hashes, right: Hashes) -> float:
    import numpy as np

    shared = len(np.intersect1d(left, right, assume_unique=True))
    return shared / (len(left) + len(right) - shared)
