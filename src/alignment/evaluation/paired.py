"""Two models' answers to the same prompts, compared: win rate, and win rate at equal length."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from alignment.evaluation.interval import Interval, rate_interval
from alignment.evaluation.results import Metric

RIDGE = 1e-3
"""Of the logistic regression: keeps it finite where one model wins every time."""
RESAMPLES = 400
_STEPS = 25
_LARGEST_STEP = 2.0
_EXACT = 1e-9


class Comparison(NamedTuple):
    """One prompt: what each pair of answers gives the model, and how much longer its answer is."""

    shares: Sequence[float]
    """1 for a win, 0 for a loss, a half for a tie; anything between where several verdicts are averaged."""
    longer: Sequence[float]
    """Characters of the model's answer minus those of the other's."""


def shares_of(theirs: Sequence[float], ours: Sequence[float]) -> list[float]:
    """What pairs of scores give ours: 1 where it is higher, 0 where it is lower, a half where both are equal."""
    return [0.5 if our == their else float(our > their) for our, their in zip(ours, theirs, strict=True)]


def win_rate_metrics(comparisons: Sequence[Comparison], *, seed: int = 0) -> list[Metric]:
    """The numbers, from 0 to 100, with prompts as clusters.

    The length-controlled one follows AlpacaEval 2 (arXiv 2404.04475) without its difficulty of instructions: a logistic
    regression of the outcome on tanh of the standardized difference in length, read at no difference.
    """
    by_prompt = [fmean(one.shares) for one in comparisons]
    interval = rate_interval(by_prompt, max(len(one.shares) for one in comparisons))
    ties = fmean(float(share == 0.5) for one in comparisons for share in one.shares)
    controlled, around = length_controlled(comparisons, seed=seed)
    count = len(comparisons)
    return [
        _percent("win rate", fmean(by_prompt), interval, count),
        _percent("length-controlled win rate", controlled, around, count),
        Metric(name="ties", value=100 * ties, n=sum(len(one.shares) for one in comparisons), unit="percent"),
    ]


def length_controlled(comparisons: Sequence[Comparison], *, seed: int = 0) -> tuple[float, Interval]:
    """The win rate at equal length, from 0 to 1, and its 95 % interval by a bootstrap over prompts."""
    owner = np.repeat(np.arange(len(comparisons)), [len(one.shares) for one in comparisons])
    shares = np.concatenate([np.asarray(one.shares, dtype=float) for one in comparisons])
    longer = np.concatenate([np.asarray(one.longer, dtype=float) for one in comparisons])
    spread = longer.std()
    bent = np.tanh(longer / spread) if spread > 0 else np.zeros_like(longer)
    own = np.bincount(owner).astype(float)
    even = 1 / own[owner]  # a prompt counts once, however many answers it has
    value = _at_equal_length(shares, bent, even)
    draws = np.random.default_rng(seed).integers(len(comparisons), size=(RESAMPLES, len(comparisons)))
    drawn = [np.bincount(draw, minlength=len(comparisons))[owner] * even for draw in draws]
    low, high = np.quantile([_at_equal_length(shares, bent, weights) for weights in drawn], (0.025, 0.975))
    return value, Interval(float(low), float(high))


def _at_equal_length(shares: NDArray[np.float64], bent: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """sigmoid(a) of the weighted fit of shares by sigmoid(a + b bent), by Newton's method."""
    design = np.stack([np.ones_like(bent), bent], axis=1)
    found = np.zeros(2)
    for _ in range(_STEPS):
        fitted = 1 / (1 + np.exp(-design @ found))
        gradient = design.T @ (weights * (shares - fitted)) - RIDGE * found
        curvature = (design * (weights * fitted * (1 - fitted))[:, None]).T @ design + RIDGE * np.eye(2)
        step = np.clip(np.linalg.solve(curvature, gradient), -_LARGEST_STEP, _LARGEST_STEP)
        found += step
        if abs(step).max() < _EXACT:
            break
    return float(1 / (1 + np.exp(-found[0])))


def _percent(name: str, value: float, interval: Interval, n: int) -> Metric:
    low, high = interval
    return Metric(name=name, value=100 * value, ci=(100 * low, 100 * high), n=n, unit="percent", headline=True)
