"""Intervals against values worked by hand (z = 1.959964, z^2 = 3.841459)."""

from __future__ import annotations

import pytest

from alignment.evaluation.interval import gain_interval, rate_interval, wilson


def test_wilson_of_half_of_a_hundred():
    # center (.5 + z^2/200) / (1 + z^2/100) = .5; half z * sqrt(.25/100 + z^2/40000) / (1 + z^2/100) = .09617
    assert wilson(0.5, 100) == pytest.approx((0.40383, 0.59617), abs=1e-5)


def test_wilson_of_none_of_ten():
    # high = (z^2/10) / (1 + z^2/10) = .3841459 / 1.3841459
    assert wilson(0.0, 10) == pytest.approx((0.0, 0.27753), abs=1e-5)
    assert wilson(1.0, 10) == pytest.approx((0.72247, 1.0), abs=1e-5)


def test_answers_that_agree_within_each_prompt_count_once_a_prompt():
    # Var = (4 * .25) / (4 * 3) = 1/12, effective number .25 * 12 = 3, raised to the 4 prompts.
    assert rate_interval([0.0, 1.0, 0.0, 1.0], answers=4) == wilson(0.5, 4)


def test_answers_that_differ_no_more_between_prompts_than_by_chance_all_count():
    # Var = (2 * .0625) / 12, effective number 24, lowered to the 16 answers.
    assert rate_interval([0.25, 0.75, 0.5, 0.5], answers=4) == wilson(0.5, 16)
    assert rate_interval([0.5, 0.5, 0.5, 0.5], answers=4) == wilson(0.5, 16)


def test_in_between_the_effective_number_decides():
    # Var = .5 / 12, effective number .25 * 24 = 6; half z * sqrt(.25/6 + z^2/144) / (1 + z^2/6) = .31238
    assert rate_interval([0.0, 0.5, 0.5, 1.0], answers=4) == pytest.approx((0.18762, 0.81238), abs=1e-5)


def test_unanimous_prompts_still_leave_doubt():
    assert rate_interval([0.0] * 10, answers=4) == wilson(0.0, 10)
    assert rate_interval([1.0] * 10, answers=4) == wilson(1.0, 10)


def test_gain_by_prompt():
    # Changes 1, .5, .5, 0: mean .5, variance of the mean .5 / 12, half z * .204124 = .40008
    low, high = gain_interval([0.0, 0.0, 0.5, 0.5], [1.0, 0.5, 1.0, 0.5])
    assert (low, high) == pytest.approx((0.09992, 0.90008), abs=1e-5)
