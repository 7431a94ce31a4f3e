"""Pairs of scored answers, against selections worked out by hand."""

from collections import Counter

import pytest

from alignment.data.selection import WHY_NONE, Selection, select_pairs
from alignment.recipe.selection import SelectionSettings

TEXTS = ["aaaa", "bbbbbbbb", "cccc", "dd", "eeeeeee"]
SCORES = [0.5, 0.9, 0.1, 0.3, 0.8]


def select(texts=TEXTS, scores=SCORES, *, key="p", finished=None, **settings) -> Selection:
    return select_pairs(texts, scores, SelectionSettings(**settings), key=key, finished=finished)


def pairs(*args, **settings) -> tuple[tuple[int, int], ...]:
    found = select(*args, **settings)
    assert (found.why_none is None) == bool(found.pairs)
    return found.pairs


def why_none(*args, **settings) -> str:
    found = select(*args, **settings)
    assert found.pairs == () and found.why_none in WHY_NONE
    return found.why_none


def test_the_best_stands_against_the_worst():
    assert pairs() == ((1, 2),)


def test_of_equal_scores_the_first_answer_wins_at_both_ends():
    assert pairs(["a", "b", "c", "d"], [1.0, 2.0, 2.0, 1.0]) == ((1, 0),)
    assert pairs(["a", "b", "c", "d"], [2.0, 1.0, 1.0, 2.0]) == ((0, 1),)


def test_equal_scores_are_no_preference():
    assert why_none(["a", "b", "c"], [0.4, 0.4, 0.4]) == "tied"


def test_identical_answers_are_no_pair_even_where_a_judge_scored_them_differently():
    assert why_none(["a", "a", "a"], [0.1, 0.9, 0.5]) == "identical"
    assert pairs(["a", "a", "b"], [0.1, 0.9, 0.5]) == ((1, 2),)


@pytest.mark.parametrize("texts", [[], ["a"], ["a", ""], ["a", " \n"]])
def test_fewer_than_two_answers_are_no_pair_and_an_empty_one_is_none(texts):
    assert why_none(texts, [0.5, 0.1][: len(texts)]) == "few"


def test_an_empty_answer_is_neither_best_nor_worst():
    assert pairs(["", "b", "c", " "], [9.0, 0.5, 0.4, -9.0]) == ((1, 2),)


@pytest.mark.parametrize(("margin", "expected"), [(0.8, ((1, 2),)), (0.4, ((1, 2),))])
def test_a_lead_of_the_margin_or_more_is_a_pair(margin, expected):
    assert pairs(min_margin=margin) == expected


def test_a_smaller_lead_is_none():
    assert why_none(min_margin=0.81) == "margin"


def test_a_lead_that_misses_the_margin_by_rounding_alone_is_a_pair():
    assert 0.7 - 0.4 < 0.3
    assert pairs(["a", "b"], [0.7, 0.4], min_margin=0.3) == ((0, 1),)


def test_the_longer_answer_measures_at_most_the_ratio_of_the_shorter():
    # The best has 8 characters; 4 are half of it, 7 the only ones within 1.5.
    assert pairs(max_length_ratio=2.0) == ((1, 2),)
    assert pairs(max_length_ratio=1.5) == ((1, 4),)
    assert why_none(max_length_ratio=1.1) == "length"
    assert pairs(["aa", "bbbb"], [1.0, 0.0], max_length_ratio=2.0) == ((0, 1),)


def test_matched_length_takes_the_nearest_in_length_of_those_that_the_margin_leaves():
    assert pairs(length_control="matched") == ((1, 4),)
    # Of answers 0, 2 and 3, the margin leaves two of 4 characters: the lower score decides.
    assert pairs(length_control="matched", min_margin=0.4) == ((1, 2),)


def test_balanced_length_puts_pairs_by_turns_against_longer_and_shorter_answers():
    # 4, 6, 2, 3 and 8 characters; the best two are 0 and 1.
    texts, scores = ["aaaa", "bbbbbb", "cc", "ddd", "eeeeeeee"], [1.0, 0.9, 0.3, 0.2, 0.1]
    drawn = [pairs(texts, scores, key=str(at), length_control="balanced", pairs_per_prompt=2) for at in range(40)]
    assert set(drawn) == {((0, 4), (1, 3)), ((0, 3), (1, 4))}
    alone = {
        select(texts[:1] + texts[2:4], [1.0, 0.3, 0.2], key=str(at), length_control="balanced") for at in range(40)
    }
    assert {found.why_none for found in alone} == {None, "length"}
    # Where one side is empty the other still gives its pair; one of the same length is on neither.
    both = [
        pairs(["aaaa", "cc", "bbbb"], [1.0, 0.2, 0.1], key=str(at), length_control="balanced", pairs_per_prompt=2)
        for at in range(40)
    ]
    assert set(both) == {((0, 1),)}


def test_a_chosen_answer_scores_at_least_what_is_asked():
    assert pairs(min_chosen_score=0.9) == ((1, 2),)
    assert pairs(min_chosen_score=0.85, pairs_per_prompt=2) == ((1, 2),)
    assert why_none(min_chosen_score=0.91) == "poor"
    assert why_none(["a", "b"], [-0.5, -0.6], min_chosen_score=0.0) == "poor"


def test_each_further_pair_uses_answers_that_no_pair_holds():
    assert pairs(pairs_per_prompt=2) == ((1, 2), (4, 3))
    assert pairs(pairs_per_prompt=9) == ((1, 2), (4, 3))
    assert pairs(["a", "b", "b", "c"], [3.0, 2.0, 2.0, 1.0], pairs_per_prompt=2) == ((0, 3),)
    assert pairs(["a", "b", "a", "c"], [3.0, 1.0, 3.0, 2.0], pairs_per_prompt=2) == ((0, 1),)


def test_unfinished_answers_follow_their_rule():
    cut = [True, False, True, True, True]
    assert pairs(finished=cut) == ((1, 2),)
    assert pairs(finished=cut, unfinished="drop") == ((4, 2),)
    assert pairs(finished=cut, unfinished="never_chosen") == ((4, 2),)
    worst_cut = [True, True, False, True, True]
    assert pairs(finished=worst_cut, unfinished="never_chosen") == ((1, 2),)
    assert pairs(finished=worst_cut, unfinished="drop") == ((1, 3),)
    assert why_none(finished=[False] * 5, unfinished="never_chosen") == "unfinished"
    assert why_none(finished=[True] + [False] * 4, unfinished="drop") == "unfinished"


def test_a_random_rejected_answer_scores_below_the_best_and_is_the_same_each_time():
    drawn = [pairs(key=f"prompt {at}", rule="best_random", seed=3) for at in range(400)]
    assert drawn == [pairs(key=f"prompt {at}", rule="best_random", seed=3) for at in range(400)]
    assert {chosen for ((chosen, _),) in drawn} == {1}
    rejected = Counter(rejected for ((_, rejected),) in drawn)
    assert set(rejected) == {0, 2, 3, 4} and min(rejected.values()) > 60
    assert drawn != [pairs(key=f"prompt {at}", rule="best_random", seed=4) for at in range(400)]


def test_a_random_rejected_answer_keeps_margin_and_never_ties():
    texts, scores = ["a", "b", "c", "d"], [1.0, 1.0, 0.9, 0.2]
    assert {pairs(texts, scores, key=str(at), rule="best_random") for at in range(60)} == {((0, 2),), ((0, 3),)}
    assert {pairs(texts, scores, key=str(at), rule="best_random", min_margin=0.5) for at in range(9)} == {((0, 3),)}


@pytest.mark.parametrize(
    ("texts", "scores"),
    [(["a", "b"], [1.0]), (["a", "b"], [1.0, float("nan")]), (["a", "b"], [float("inf"), 1.0])],
)
def test_scores_that_cannot_be_compared_are_refused(texts, scores):
    with pytest.raises(ValueError, match="score"):
        select(texts, scores)


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"pairs_per_prompt": 0}, "selection.pairs_per_prompt"),
        ({"min_margin": -0.1}, "selection.min_margin"),
        ({"max_length_ratio": 0.9}, "selection.max_length_ratio"),
        ({"rule": "best_random", "length_control": "matched"}, "selection.length_control"),
    ],
)
def test_settings_that_make_no_sense_are_named(settings, key):
    assert [fault.key for fault in SelectionSettings(**settings).faults()] == [key]
    assert list(SelectionSettings().faults()) == []


def test_the_best_stands_against_each_that_is_worse():
    """Scores .9 .8 .5 .3 .1: the best is answer 1; a lead of .5 leaves two."""
    assert pairs(rule="best_against_each") == ((1, 4), (1, 0), (1, 3), (1, 2))
    assert pairs(rule="best_against_each", min_margin=0.5) == ((1, 3), (1, 2))
    assert why_none(rule="best_against_each", min_margin=0.95) == "margin"


def test_all_pairs_are_those_with_a_lead():
    assert len(pairs(rule="all_pairs")) == 10
    assert pairs(rule="all_pairs", min_margin=0.45) == ((1, 3), (1, 2), (4, 3), (4, 2))
    assert pairs(["a", "b", "c"], [1.0, 1.0, 0.0], rule="all_pairs") == ((0, 2), (1, 2))


def test_a_best_answer_without_a_partner_does_not_end_all_pairs():
    """No answer is as long as the best, and the two others are a pair."""
    assert pairs(["a" * 90, "bb", "cc"], [3.0, 2.0, 1.0], rule="all_pairs", max_length_ratio=2.0) == ((1, 2),)
    assert why_none(["a" * 90, "bb"], [3.0, 2.0], rule="all_pairs", max_length_ratio=2.0) == "length"


def test_one_text_is_one_answer_in_every_pair():
    assert pairs(["a", "a", "b"], [0.9, 0.1, 0.5], rule="all_pairs") == ((0, 2),)
    assert why_none(["a", "a"], [0.9, 0.1], rule="all_pairs") == "identical"


@pytest.mark.parametrize("settings", [{"pairs_per_prompt": 2}, {"length_control": "matched"}])
def test_rules_that_take_every_pair_refuse_what_would_say_otherwise(settings):
    (fault,) = SelectionSettings(rule="all_pairs", **settings).faults()
    assert "takes every pair" in str(fault)
