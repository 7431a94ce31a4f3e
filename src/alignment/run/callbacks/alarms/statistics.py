"""Statistics of noisy logs: means with their errors, and deviations that outliers do not change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median, stdev
from typing import NamedTuple


class Level(NamedTuple):
    """A mean and how well it is known."""

    mean: float
    error: float
    """Standard error."""


def level(values: Sequence[float]) -> Level:
    """Of at least two values."""
    return Level(fmean(values), stdev(values) / math.sqrt(len(values)))


def rise(before: Sequence[float], after: Sequence[float]) -> float:
    """How far the mean of `after` is above that of `before`, in standard errors of the difference."""
    first, last = level(before), level(after)
    error = math.hypot(first.error, last.error)
    change = last.mean - first.mean
    return change / error if error else math.copysign(math.inf, change) if change else 0.0


def spread(values: Sequence[float]) -> float:
    """A standard deviation that single outliers do not change: 1.4826 median absolute deviations."""
    center = median(values)
    return 1.4826 * median(abs(value - center) for value in values)
