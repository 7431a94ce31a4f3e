"""Training prompts that hold evaluation prompts, or parts of them: contamination.

Two prompts overlap when they share `ngram` words in a row (13 in the GPT-3 paper, arXiv 2005.14165, appendix C). One
that has fewer words overlaps when the other holds all of it; one of fewer than `SHORTEST` words, such as "Tell me
more", only when the other is the same. `alignment.data.words` says what a word is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from alignment.data.words import Words

if TYPE_CHECKING:
    from alignment.data.words import Hashes

NGRAM = 13
SHORTEST = 4
"""Words from which a prompt counts when it is held by another one."""
_LONGEST_SHOWN = 60
"""Words of a shared text that are kept for the report."""


class Overlap(NamedTuple):
    """A training prompt and an evaluation prompt that share words."""

    row: int
    """Number of the training prompt."""
    against: int
    """Number of the evaluation prompt."""
    text: str
    """The words that they share, as `words_of` has them."""


def find_overlaps(prompts: Iterable[str], against: Iterable[str], *, ngram: int = NGRAM) -> list[Overlap]:
    """The training prompts that overlap an evaluation prompt, in their order, each with the first that was found.

    Time is linear in the words of both, memory in those of `against`: a training prompt is looked at once and not kept.

    Args:
        prompts: training prompts.
        against: evaluation prompts.
        ngram: words in a row, from `SHORTEST` on.
    """
    evaluation = _Evaluation(against, ngram)
    found: list[Overlap] = []
    short: dict[int, list[tuple[int, bytes]]] = {}
    for row, prompt in enumerate(prompts):
        words = Words.of(prompt)
        overlap = evaluation.find(row, words)
        if overlap is not None:
            found.append(overlap)
        elif SHORTEST <= len(words) < ngram:
            short.setdefault(len(words), []).append((row, words.content))
    for length, rows in short.items():
        found.extend(evaluation.holders(length, rows))
    return sorted(found)


class _Table:
    """Runs of as many words each, of some of the evaluation prompts, by their hash."""

    def __init__(self, length: int, grams: Mapping[int, Hashes], prompts: Sequence[Words]) -> None:
        """
        Args:
            length: words of a run.
            grams: number of an evaluation prompt -> its runs.
            prompts: all of them.
        """
        import numpy as np

        self.length = length
        self._prompts, self._numbers = prompts, list(grams)
        self._hashes, self._first = np.unique(np.concatenate(list(grams.values())), return_index=True)
        self._begins = np.cumsum([0, *map(len, grams.values())])

    def find(self, words: Words) -> tuple[int, int, int] | None:
        """Of the first run that `words` share: its word, the evaluation prompt, and the word there."""
        import numpy as np

        grams = words.grams(self.length)
        places = _places(grams, self._hashes)
        for at in np.flatnonzero(self._hashes[places] == grams).tolist():
            gram = self._first[places[at]]
            owner = int(np.searchsorted(self._begins, gram, side="right")) - 1
            number, there = self._numbers[owner], int(gram - self._begins[owner])
            if words.run(at, self.length) == self._prompts[number].run(there, self.length):
                return int(at), number, there
        return None


class _Evaluation:
    """The evaluation prompts, and every run of words by which a training prompt can overlap one of them."""

    def __init__(self, prompts: Iterable[str], ngram: int) -> None:
        self._prompts: list[Words] = []
        self._same: dict[bytes, int] = {}
        grams: dict[int, dict[int, Hashes]] = {}
        for number, prompt in enumerate(prompts):
            words = Words.of(prompt)
            if (length := min(len(words), ngram)) >= SHORTEST:
                grams.setdefault(length, {})[number] = words.grams(length)
            self._same.setdefault(words.content, number)
            self._prompts.append(replace(words))  # without what the hashes were made from
        self._tables = [_Table(length, grams.pop(length), self._prompts) for length in sorted(grams, reverse=True)]

    def find(self, row: int, words: Words) -> Overlap | None:
        """The first evaluation prompt that shares `ngram` words, or that the training prompt holds or equals."""
        if words.content and (same := self._same.get(words.content)) is not None:
            return Overlap(row, same, _shown(words, self._prompts[same], 0, 0))
        for table in self._tables:
            if (place := table.find(words)) is not None:
                at, number, there = place
                return Overlap(row, number, _shown(words, self._prompts[number], at, there))
        return None

    def holders(self, length: int, rows: Sequence[tuple[int, bytes]]) -> Iterator[Overlap]:
        """The training prompts of `length` words that an evaluation prompt holds."""
        import numpy as np

        waiting: dict[bytes, list[int]] = {}
        for row, content in rows:
            waiting.setdefault(content, []).append(row)
        hashes = np.sort(np.array([_whole(content, length) for content in waiting], np.uint64))
        for number, words in enumerate(self._prompts):
            grams = replace(words).grams(length)
            for at in np.flatnonzero(hashes[_places(grams, hashes)] == grams).tolist():
                for row in waiting.pop(words.run(at, length), ()):
                    yield Overlap(row, number, words.run(at, length).decode("utf-8", "replace"))


def _places(values: Hashes, known: Hashes) -> Any:
    """Where in the sorted array `known`, of at least one, each of `values` would stand."""
    import numpy as np

    return np.minimum(np.searchsorted(known, values), len(known) - 1)


def _whole(content: bytes, length: int) -> Any:
    return Words.of(content.decode("utf-8", "surrogatepass")).grams(length)[0]


def _shown(words: Words, other: Words, at: int, there: int) -> str:
    """The words that two texts share from these places on, at most `_LONGEST_SHOWN` of them."""
    count = min(_LONGEST_SHOWN, len(words) - at, len(other) - there)
    shared = next((n for n in range(count) if words.run(at + n, 1) != other.run(there + n, 1)), count)
    return words.run(at, shared).decode("utf-8", "replace")
