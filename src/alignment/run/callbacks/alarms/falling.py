"""How far the log-probability of an answer's token has fallen since the beginning."""

from __future__ import annotations

from collections import deque
from statistics import fmean
from typing import Literal, NamedTuple

from alignment.run.callbacks.alarms.detector import Course, Log

LOGS = 3
Side = Literal["chosen", "rejected"]


class Fall(NamedTuple):
    """What the last logs show."""

    since: int
    """The first of them."""
    nats: float
    """A token's mean log-probability in the first logs minus that in the last ones; of a method with a reference model,
    relative to that model."""


class Falling:
    """The fall of one side over three logs."""

    def __init__(self, course: Course, side: Side) -> None:
        self._course = course
        self._side = side
        self._first: list[float] = []
        self._recent: deque[tuple[int, float]] = deque(maxlen=LOGS)

    def see(self, log: Log) -> Fall | None:
        """The fall up to `log`, once there are logs enough."""
        now = self._per_token(log)
        if now is None:
            return None
        if len(self._first) < LOGS and not self._course.method.reference:
            self._first.append(now)
            return None
        self._recent.append((int(log["step"]), now))
        if len(self._recent) < LOGS:
            return None
        began = fmean(self._first) if self._first else 0.0
        return Fall(self._recent[0][0], began - fmean(value for _, value in self._recent))

    def _per_token(self, log: Log) -> float | None:
        course = self._course
        if not course.rewarded:
            return -log["loss"] if "loss" in log else None
        if course.method.logps == "mean":
            return log.get(f"logps/{self._side}")
        if f"rewards/{self._side}" not in log or not course.beta or not course.chosen_tokens:
            return None
        return log[f"rewards/{self._side}"] / (course.beta * course.chosen_tokens)
