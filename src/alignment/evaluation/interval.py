"""95 % intervals of a rate over prompts with several answers each.

Answers to one prompt resemble each other, so they are no independent trials: the prompt is the unit (a cluster).
A bootstrap over prompts says the same, but collapses to a point when all prompts agree, as they do at rates of 0
and 1, and needs a seed; the closed form below does neither.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

Z95 = 1.959964
"""Two-sided 95 % quantile of the normal distribution."""


class Interval(NamedTuple):
    """A closed interval."""

    low: float
    high: float


def wilson(rate: float, trials: float) -> Interval:
    """Wilson's score interval of a rate over `trials` independent trials (a fractional number is allowed)."""
    square = Z95 * Z95
    center = (rate + square / (2 * trials)) / (1 + square / trials)
    half = Z95 * math.sqrt(rate * (1 - rate) / trials + square / (4 * trials * trials)) / (1 + square / trials)
    return Interval(max(0.0, center - half), min(1.0, center + half))


def rate_interval(rates: Sequence[float], answers: int) -> Interval:
    """Wilson's interval over the effective number of independent answers.

    Args:
        rates: One rate for each prompt, each over the same number of answers.
        answers: Answers for each prompt.

    The effective number is p(1-p) / Var(p), with the variance of the mean estimated between prompts, kept between
    the number of prompts (answers to one prompt are all alike) and the number of answers (all independent). At rates
    of 0 and 1 nothing tells the two apart, and the number of prompts counts.
    """
    prompts = len(rates)
    rate = sum(rates) / prompts
    if rate in (0.0, 1.0):
        return wilson(rate, prompts)
    variance = _variance_of_mean(rates)
    independent = rate * (1 - rate) / variance if variance > 0 else math.inf
    return wilson(rate, min(max(independent, prompts), prompts * answers))


def gain_interval(before: Sequence[float], after: Sequence[float]) -> Interval:
    """Normal interval of the mean change, prompt by prompt: what a prompt's difficulty adds to both cancels."""
    change = [late - early for early, late in zip(before, after, strict=True)]
    mean = sum(change) / len(change)
    half = Z95 * math.sqrt(_variance_of_mean(change))
    return Interval(mean - half, mean + half)


def _variance_of_mean(values: Sequence[float]) -> float:
    count = len(values)
    mean = sum(values) / count
    return sum((value - mean) ** 2 for value in values) / (count * (count - 1)) if count > 1 else 0.0
