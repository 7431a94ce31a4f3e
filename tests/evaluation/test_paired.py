"""Win rates of paired answers against numbers worked by hand."""

from __future__ import annotations

import math

import pytest

from alignment.evaluation.interval import rate_interval
from alignment.evaluation.paired import Comparison, length_controlled, shares_of, win_rate_metrics
from alignment.evaluation.win_rate import read_verdict


def named(comparisons: list[Comparison]) -> dict:
    return {metric.name: metric for metric in win_rate_metrics(comparisons)}


def test_equal_scores_are_a_tie():
    assert shares_of([1, 2, 3], [2, 1, 3]) == [1, 0, 0.5]


def test_prompts_count_once_and_ties_half():
    # prompts .75 and 0: mean .375; one tie of four
    found = named([Comparison([1, 0.5], [0, 0]), Comparison([0, 0], [0, 0])])
    assert found["win rate"].value == pytest.approx(37.5)
    assert found["win rate"].ci == pytest.approx([100 * bound for bound in rate_interval([0.75, 0], 2)])
    assert (found["ties"].value, found["ties"].n, found["win rate"].n) == (25, 4, 2)


def test_without_a_difference_in_length_nothing_is_corrected():
    value, (low, high) = length_controlled([Comparison([share], [0]) for share in (1, 1, 1, 0)])
    # the ridge pulls the log-odds from ln 3 by a little
    assert value == pytest.approx(0.75, abs=2e-3) and low < value < high


def test_a_model_that_wins_by_length_alone_is_no_better():
    # longer answers win as often as shorter ones lose, and half of all are longer: a = 0, b = ln 3 / tanh(1)
    longer = [Comparison([float(at < 3)], [100]) for at in range(4)]
    shorter = [Comparison([float(at == 3)], [-100]) for at in range(4)]
    assert length_controlled(longer + shorter)[0] == pytest.approx(0.5, abs=1e-6)


def test_what_length_explains_is_taken_off():
    # 30 of 40 wins where it is longer by d, 5 of 10 where it is shorter by d. With t = tanh(d / spread),
    # a + b t = ln 3 and a - b t = 0: a = ln 3 / 2, a win rate of sqrt(3) / (1 + sqrt(3)), not 35 of 50
    comparisons = [Comparison([float(at < 30)], [10]) for at in range(40)]
    comparisons += [Comparison([float(at < 5)], [-10]) for at in range(10)]
    expected = math.sqrt(3) / (1 + math.sqrt(3))
    assert length_controlled(comparisons)[0] == pytest.approx(expected, abs=2e-3)
    assert named(comparisons)["win rate"].value == pytest.approx(70)


def test_a_model_that_always_wins_is_near_a_hundred():
    value, (low, high) = length_controlled([Comparison([1.0], [at % 3]) for at in range(50)])
    assert value > 0.99 and low > 0.98 and high <= 1


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("Verdict: 1", 1),
        ("I think 1.\nVERDICT: 2", 0),
        ("Verdict: **tie**", 0.5),
        ("Verdict: 1\nNo. Verdict: 2", 0),
        ("The first one.", None),
        ("Verdict: 3", None),
        ("", None),
    ],
)
def test_the_verdict_in_an_answer(text, share):
    assert read_verdict(text) == share
