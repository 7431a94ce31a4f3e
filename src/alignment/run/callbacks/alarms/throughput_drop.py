"""The run becomes slow."""

from __future__ import annotations

from collections import deque
from statistics import median

from alignment.run.callbacks.alarms.detector import Course, Finding, Log

SPEED = "throughput/tokens_per_second"
LEAST = 0.4
_RECENT, _BEFORE = 10, 20
_SECONDS = 60.0
"""Shorter slow stretches are caused by other programs."""


class ThroughputDrop:
    """For a minute and ten logs, tokens a second are below 40 % of the median before."""

    def __init__(self, course: Course) -> None:
        self._batch = course.batch
        self._step = 0
        self._before: list[float] = []
        self._recent: deque[tuple[int, float, float]] = deque()

    def see(self, log: Log) -> Finding | None:
        if SPEED not in log or not log.get("throughput/pairs_per_second"):
            return None
        step = int(log["step"])
        seconds = self._batch * (step - self._step) / log["throughput/pairs_per_second"]
        self._step = step
        self._recent.append((step, log[SPEED], seconds))
        if len(self._recent) > _RECENT:
            self._before.append(self._recent.popleft()[1])
        slow = median(speed for _, speed, _ in self._recent)
        long = sum(seconds for *_, seconds in self._recent) >= _SECONDS
        if not long or len(self._before) < _BEFORE or slow >= LEAST * median(self._before):
            return None
        return Finding(
            since=self._recent[0][0],
            saw=f"{slow:,.0f} tokens a second are computed, {slow / median(self._before):.0%} of the "
            f"{median(self._before):,.0f} before",
            matters="The result is the same and comes later, and costs more",
            try_="Look for other programs on the machine, GPUs that are too hot (nvidia-smi -q -d PERFORMANCE), a full "
            "disk, or memory that is swapped",
        )
