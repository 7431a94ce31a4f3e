"""Duplicates: exact ones, near ones by their true similarity, and no quadratic time where all is alike."""

from __future__ import annotations

import random

import pytest
from test_overlap import calls_of

from alignment.data.duplicates import exact_duplicates, near_duplicates

RNG = random.Random(0)
VOCABULARY = [f"w{number}" for number in range(5000)]


def text(words: int) -> list[str]:
    return [RNG.choice(VOCABULARY) for _ in range(words)]


def test_exact_duplicates_stand_for_the_first_of_their_kind() -> None:
    assert exact_duplicates(["a", "b", "a", "A", "a", "b", ""]) == [(2, 0, 1.0), (4, 0, 1.0), (5, 1, 1.0)]
    assert exact_duplicates([]) == exact_duplicates(["one"]) == []


def test_similarity_is_that_of_sets_of_five_words() -> None:
    words = text(104)
    # Of 100 runs of five words each, those with the changed last word differ: 99 shared, 101 in either.
    changed = [*words[:-1], "other"]
    texts = [" ".join(words), "unlike", " ".join(changed)]
    assert near_duplicates(texts, similarity=0.98) == [(2, 0, pytest.approx(99 / 101))]
    assert near_duplicates(texts, similarity=0.985) == []


def test_case_and_punctuation_make_near_duplicates_of_similarity_one() -> None:
    assert near_duplicates(
        ["Why is the sky so blue?", "why is  the sky so blue", "Hi!", "hi", "?", "!"], similarity=1
    ) == [
        (1, 0, 1.0),
        (3, 2, 1.0),
    ]


@pytest.mark.parametrize("similarity", [0.5, 0.7, 0.8, 0.9, 0.95])
def test_pairs_above_the_similarity_are_found_and_none_below(similarity: float) -> None:
    texts = []
    for changes in list(range(0, 12)) * 20:
        words = text(120)
        other = list(words)
        for at in RNG.sample(range(120), changes):
            other[at] = "changed"
        texts += [" ".join(words), " ".join(other)]
    expected = {row for row in range(1, len(texts), 2) if jaccard(texts[row], texts[row - 1]) >= similarity}
    found = {duplicate.row: duplicate for duplicate in near_duplicates(texts, similarity=similarity)}
    assert set(found) <= expected and len(found) >= 0.99 * len(expected) and len(expected) >= 20
    for row, duplicate in found.items():
        assert duplicate.of == row - 1 and duplicate.similarity == pytest.approx(jaccard(texts[row], texts[row - 1]))


def jaccard(left: str, right: str) -> float:
    one, other = (
        {tuple(words[at : at + 5]) for at in range(len(words) - 4)} for words in (left.split(), right.split())
    )
    return len(one & other) / len(one | other)


def test_a_chain_of_small_changes_does_not_swallow_what_is_unlike_its_beginning() -> None:
    words, chain = text(100), []
    for step in range(60):
        chain.append(" ".join(["changed"] * step + words[step:]))
    found = {duplicate.row: duplicate.of for duplicate in near_duplicates(chain, similarity=0.9)}
    assert all(of not in found for of in found.values())
    assert 50 not in found or found[50] > 40


@pytest.mark.parametrize("kind", ["all the same", "all alike, none similar enough"])
def test_work_grows_with_the_texts_and_not_with_their_square(kind: str) -> None:
    common = " ".join(text(40))

    def work(rows: int) -> int:
        ending = (lambda row: "") if kind == "all the same" else (lambda row: f" {row} a b c {row}")
        texts = [common + ending(row) for row in range(rows)]
        return calls_of(lambda: near_duplicates(texts, similarity=0.95))

    assert work(5_000) < 11 * work(500)
