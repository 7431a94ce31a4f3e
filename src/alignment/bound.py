"""An interval that the value of a setting must be in."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, kw_only=True)
class Bound:
    """An interval, and what to tell someone who left it."""

    low: float = -inf
    high: float = inf
    low_open: bool = False
    """Whether `low` itself is outside."""
    high_open: bool = False
    """Whether `high` itself is outside."""
    remedy: str = ""

    def holds(self, value: float) -> bool:
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return above and below

    def __str__(self) -> str:
        parts = []
        if self.low > -inf:
            parts.append(f"{'above' if self.low_open else 'at least'} {self.low:g}")
        if self.high < inf:
            parts.append(f"{'below' if self.high_open else 'at most'} {self.high:.10g}")
        return f"must be {' and '.join(parts)}"


def above(low: float, remedy: str) -> Bound:
    return Bound(low=low, low_open=True, remedy=remedy)


def at_least(low: float, remedy: str, *, below: float = inf) -> Bound:
    return Bound(low=low, high=below, high_open=True, remedy=remedy)


def count(low: float, high: float, remedy: str) -> Bound:
    """What memory or processes are taken for: a slip of the finger must not exhaust the machine."""
    return Bound(low=low, high=high, remedy=remedy)
