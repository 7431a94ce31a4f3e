"""Arena-Hard's score against numbers worked by hand."""

from __future__ import annotations

import json

import pytest

from alignment.errors import DataError
from alignment.evaluation import arena_hard
from alignment.evaluation.arena_hard import share_of


def judged(number, first, second, **others):
    """A row of v0.1: the baseline is A in the first game, the model in the second."""
    return {"question_id": f"q{number}", "model": "ours", "games": [{"score": first}, {"score": second}], **others}


def judged_v2(number, first, second, category="hard_prompt"):
    row = judged(number, first, second, category=category, baseline="o3-mini")
    return {"uid": row.pop("question_id"), **row}


def test_a_strong_verdict_counts_three_times():
    # B>>A gives the model 3 of 3, A>B gives it 1 of 1; A=B half of 1, B>A none of 1: 4.5 of 6
    found = arena_hard.score([judged(1, "B>>A", "A>B"), judged(2, "A=B", "B>A")])
    assert found["score"] == pytest.approx(75)
    assert (found["n"], found["unjudged"], found["version"]) == (2, 0, "v0.1")


def test_a_question_with_a_game_without_verdict_is_left_out_or_as_once_the_game_alone():
    # the old script keeps the other game of the question with the null, 1 of 1, beside 0 of 2
    games = [("A>B", "B>A"), (None, "A>B")]
    old = arena_hard.score([judged(at, *game) for at, game in enumerate(games)])
    assert (old["score"], old["n"], old["unjudged"]) == (pytest.approx(100 / 3), 2, 1)
    new = arena_hard.score([judged_v2(at, *game) for at, game in enumerate(games)])
    assert (new["score"], new["n"], new["unjudged"], new["version"]) == (0, 1, 1, "v2")
    again = arena_hard.score([judged_v2(at, *game, category="arena-hard-v0.1") for at, game in enumerate(games)])
    assert (again["score"], again["version"]) == (0, "v0.1")


def test_what_is_no_verdict_is_counted_and_never_guessed():
    found = arena_hard.score([judged(1, "A>>>B", "I like both"), judged(2, "b>a", "A>B")])
    assert (found["score"], found["n"], found["unjudged"]) == (100, 1, 2)


VERDICTS = {
    "A>>B": (1, 3),
    "A>B": (1, 1),
    "A=B": (0.5, 1),
    "B=A": (0.5, 1),
    "A<B": (0, 1),
    "B>>A": (0, 3),
    "B<<A": (1, 3),
}


@pytest.mark.parametrize(
    ("verdict", "share"), [*VERDICTS.items(), *((wrong, None) for wrong in ("A>A", "A", "A>=B", "", None, 3))]
)
def test_every_verdict(verdict, share):
    assert share_of(verdict) == share


def test_categories_of_v2_are_scored_apart():
    rows = [judged_v2(1, "B>A", "A>B"), {**judged_v2(2, "A>B", "B>A", "creative_writing"), "baseline": "gemini"}]
    found = arena_hard.score(rows)
    assert (found["score"], found["category"]) == (100, "hard_prompt")
    assert found["categories"]["creative_writing"]["score"] == 0


def test_the_interval_is_one_of_resampled_questions(tmp_path):
    # 100 questions, half of them won twice and half lost twice: the standard error of the mean is 5
    rows = [judged(at, *(("B>A", "A>B") if at % 2 else ("A>B", "B>A"))) for at in range(100)]
    path = tmp_path / "ours.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = arena_hard.score(path, seed=3)
    assert found["score"] == 50
    assert found["ci"] == pytest.approx([40.2, 59.8], abs=1.5)
    assert found == arena_hard.score(rows, seed=3)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([judged(1, "A>B", "A>B"), judged(1, "A>B", "A>B")], "judged before"),
        ([judged(1, "A>B", "A>B"), {**judged(2, "A>B", "A>B"), "model": "theirs"}], "one model in all rows"),
        ([{"question_id": "q", "model": "ours", "games": [{"score": "A>B"}]}], "two games"),
        ([{"question_id": "q", "model": "ours", "games": ["A>B", "A>B"]}], "mappings"),
        ([{"question_id": "q", "games": []}], "name the model"),
        ([{"model": "ours", "games": []}], "uid or question_id"),
        ([judged(1, None, "?")], "no verdict at all"),
        ([judged_v2(1, "A>B", "A>B", "math"), judged_v2(2, "A>B", "A>B", "poems")], "no one benchmark"),
    ],
)
def test_what_is_no_set_of_judgments_is_refused(rows, told):
    with pytest.raises(DataError, match=told):
        arena_hard.score(rows)


def test_another_baseline_than_asked_for_is_refused():
    with pytest.raises(DataError, match="gpt-4-0314 was asked for"):
        arena_hard.score([judged_v2(1, "A>B", "A>B")], baseline="gpt-4-0314")
