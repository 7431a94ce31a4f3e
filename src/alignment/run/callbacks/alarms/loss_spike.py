"""The loss jumps, or ends up above where it began."""

from __future__ import annotations

from collections import deque
from statistics import fmean

from alignment.run.callbacks.alarms.detector import Course, Finding, Log
from alignment.run.callbacks.alarms.spikes import Spikes
from alignment.run.callbacks.alarms.statistics import level

TIMES = 3.0
ABOVE = 1.5
"""Mean of the last logs over that of the first ones, from which on training has made the model worse."""
_RECENT = 5
_ERRORS = 4


class LossSpike:
    """`loss` is three times its median and above its beginning, or 1.5 times its beginning for five logs."""

    def __init__(self, course: Course) -> None:
        self._spikes = Spikes(times=TIMES, beginning=1.0, batch=course.batch)
        self._first: list[float] = []
        self._recent: deque[tuple[int, float]] = deque(maxlen=_RECENT)

    def see(self, log: Log) -> Finding | None:
        if "loss" not in log:
            return None
        loss = log["loss"]
        if (since := self._spikes.since(log, loss)) is not None:
            return _finding(since, f"the loss is {loss:.3g} after a median of {self._spikes.usual:.3g}")
        if len(self._first) < _RECENT:
            self._first.append(loss)
            return None
        self._recent.append((int(log["step"]), loss))
        values = [value for _, value in self._recent]
        if len(values) == _RECENT and _above(values, self._first):
            saw = f"the loss is {fmean(values):.3g} on average, above the {fmean(self._first):.3g} it began with"
            return _finding(self._recent[0][0], saw)
        return None


def _above(values: list[float], first: list[float]) -> bool:
    began, now = level(first), level(values)
    return now.mean > ABOVE * began.mean and now.mean - began.mean > _ERRORS * (now.error**2 + began.error**2) ** 0.5


def _finding(since: int, saw: str) -> Finding:
    return Finding(
        since=since,
        saw=saw,
        matters="Steps are too long for this loss, and what the model knew is being overwritten",
        try_="Lower learning_rate, warm up for longer, or set max_grad_norm: 1.0; look at the rows of those steps",
    )
