"""Contamination: what counts as the same words, found exactly as by comparing every pair, in linear time."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alignment.data.overlap import SHORTEST, find_overlaps
from alignment.data.words import Words, words_of

COUNT = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"

SAME = [
    ("Don't — STOP!", "don t stop"),
    ("\uff21\uff22\uff23\u3000\uff11\uff12", "abc 12"),
    ("Straße", "strasse"),
    ("東京は。", "東 京 は"),
    ("ｶﾀｶﾅ", "カ タ カ ナ"),
    ("नमस्ते दुनिया", "नमस्ते दुनिया"),
    ("cafe\u0301", "café"),
    (" \n\t?!… ", ""),
]


@pytest.mark.parametrize(("text", "words"), SAME)
def test_what_makes_no_difference(text: str, words: str) -> None:
    assert words_of(text) == words


def test_thirteen_words_in_a_row_are_shared_and_twelve_are_not() -> None:
    words = COUNT.split()
    evaluation = ["Nothing of it.", f"Tell me: {COUNT}?"]
    thirteen = "Before that, " + ", ".join(words[1:14]).upper() + " and so on"
    twelve = "Before that, " + " ".join(words[1:13]) + " and so on"
    assert find_overlaps([twelve, thirteen], evaluation) == [(1, 1, " ".join(words[1:14]))]


def test_a_shared_text_is_told_as_far_as_it_goes() -> None:
    (found,) = find_overlaps([f"x {COUNT} y"], [f"z {COUNT} q"])
    assert found.text == COUNT


SHORT = [
    ("Please answer: what is the capital of France? Thanks.", "What is the capital of France?", True),
    ("What is the capital of France?", "Please answer: what is the capital of France? Thanks.", True),
    ("What is the capital of Francesca?", "What is the capital of France?", False),
    ("Well, tell me more about it", "Tell me more", False),
    ("TELL ME MORE", "Tell me more.", True),
    ("请告诉我中国的首都是哪里。谢谢你", "中国的首都是哪里", True),
    ("日本の首都は東京です", "日本の首都は大阪です", False),
    ("!!!", "???", False),
    ("", "", False),
]


@pytest.mark.parametrize(("prompt", "evaluation", "overlaps"), SHORT)
def test_short_prompts_are_held_whole_or_equal(prompt: str, evaluation: str, overlaps: bool) -> None:
    assert bool(find_overlaps([prompt], [evaluation])) is overlaps


def brute_force(prompts: list[str], against: list[str], ngram: int) -> list[int]:
    """The overlapping rows, by the definition, pair by pair."""

    def runs(words: list[str], length: int) -> set[tuple[str, ...]]:
        return {tuple(words[at : at + length]) for at in range(len(words) - length + 1)}

    def overlap(left: list[str], right: list[str]) -> bool:
        length = min(ngram, len(left), len(right))
        if length < SHORTEST:
            return bool(left) and left == right
        return bool(runs(left, length) & runs(right, length))

    split = [words_of(text).split() for text in against]
    return [row for row, text in enumerate(prompts) if any(overlap(words_of(text).split(), other) for other in split)]


TEXTS = st.lists(
    st.lists(st.sampled_from(["a", "B", "bb", "é", "東", "ab,", "."]), max_size=12).map(" ".join), max_size=8
)


@settings(max_examples=300, deadline=None)
@given(prompts=TEXTS, against=TEXTS, ngram=st.integers(SHORTEST, 6))
def test_it_equals_brute_force(prompts: list[str], against: list[str], ngram: int) -> None:
    found = find_overlaps(prompts, against, ngram=ngram)
    assert [overlap.row for overlap in found] == brute_force(prompts, against, ngram)
    for row, other, text in found:
        assert text and text in words_of(prompts[row]) and text in words_of(against[other])


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=60), length=st.integers(1, 4))
def test_equal_runs_and_they_alone_have_equal_hashes(text: str, length: int) -> None:
    words = Words.of(text)
    runs = [words.run(at, length) for at in range(len(words) - length + 1)]
    hashes = words.grams(length).tolist()
    assert len(hashes) == len(runs)
    assert len(set(hashes)) == len(set(runs)) == len(set(zip(hashes, runs, strict=True)))
    assert b" ".join(words.run(at, 1) for at in range(len(words))) == words.content


def test_a_text_of_a_megabyte() -> None:
    huge = "word " * 200_000 + COUNT
    assert find_overlaps([huge, "x"], [COUNT]) == [(0, 0, COUNT)]
    assert [overlap.row for overlap in find_overlaps([COUNT, "x"], [huge])] == [0]


def calls_of(work: Callable[[], object]) -> int:
    """Python functions, and C functions called from Python, that `work` runs."""
    counts = {"call": 0, "c_call": 0}

    def count(_frame: object, event: str, _argument: object) -> None:
        if event in counts:
            counts[event] += 1

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return sum(counts.values())


HOSTILE = {
    "all overlap the same": lambda row: f"{COUNT} again",
    "none overlaps": lambda row: f"row {row} says one two three four five six, in a way",
    "all are held by all": lambda row: "four five six seven eight",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_work_grows_with_the_rows_and_not_with_their_square(kind: str) -> None:
    evaluation = [COUNT] * 500

    def work(rows: int) -> int:
        return calls_of(lambda: find_overlaps(map(HOSTILE[kind], range(rows)), evaluation))

    few, many = work(1_000), work(10_000)
    assert many < 11 * few


class Counted(str):
    """A text that is counted as long as it lives."""

    alive = most = 0

    def __init__(self, _text: str) -> None:
        Counted.alive += 1
        Counted.most = max(Counted.most, Counted.alive)

    def __del__(self) -> None:
        Counted.alive -= 1


def test_a_hundred_thousand_rows_are_looked_at_one_by_one() -> None:
    rows = (
        Counted(f"row {row} of many: nothing to see here, so move on, to {row} and beyond") for row in range(100_000)
    )
    assert find_overlaps(rows, [f"{COUNT} number {number}" for number in range(1000)]) == []
    assert Counted.most <= 2 and Counted.alive <= 1
