"""The house style as a scorer."""

from __future__ import annotations

import pytest

from alignment.scoring import load_scorer
from alignment.scoring.house_style import MOST_OFF
from alignment.scoring.rules import PENALTIES

QUESTION = "Why do cats purr?"
GOOD = "Cats purr when they feel safe and calm, but also to soothe themselves when something hurts."
LONGER = GOOD[:-1] + ", and some cats even do it to ask the people whom they trust for a meal."


def score(answer: str) -> float:
    conversation = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": answer}]
    return load_scorer("alignment.scoring.house_style:house_style").score([conversation])[0]


def test_an_answer_that_keeps_the_style_scores_the_more_the_nearer_it_is_to_medium_length():
    # 16 and 32 words; 31 are in the middle of 12 to 50.
    assert score(GOOD) == pytest.approx(1 - MOST_OFF * 15 / 19)
    assert score(LONGER) == pytest.approx(1 - MOST_OFF * 1 / 19)


def test_a_violation_costs_its_penalty_and_more_than_any_length():
    assert score(GOOD.rstrip(".")) == pytest.approx(score(GOOD) - PENALTIES["no_full_stop"])
    assert min(PENALTIES.values()) > MOST_OFF
