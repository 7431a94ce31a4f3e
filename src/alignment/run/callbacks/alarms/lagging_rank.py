"""One process is slower than the others, which wait for it at every step."""

from __future__ import annotations

from alignment.run.callbacks.alarms.detector import Course, Finding, Log

SLOWEST, RANK = "ranks/slowest_over_median", "ranks/slowest"
"""Seconds of the slowest process over the median, and which it is (`run.callbacks.rank_speed`)."""
TIMES = 1.5
_MEASUREMENTS = 3


class LaggingRank:
    """The same process takes 1.5 times the median, three measurements in a row."""

    def __init__(self, course: Course) -> None:
        self._slow: list[tuple[int, int]] = []

    def see(self, log: Log) -> Finding | None:
        if SLOWEST not in log:
            return None
        rank = int(log[RANK])
        if log[SLOWEST] < TIMES or (self._slow and self._slow[0][1] != rank):
            self._slow.clear()
        if log[SLOWEST] >= TIMES:
            self._slow.append((int(log["step"]), rank))
        if len(self._slow) < _MEASUREMENTS:
            return None
        return Finding(
            since=self._slow[0][0],
            saw=f"process {rank} takes {log[SLOWEST]:.1f} times as long as the median for the same work",
            matters="All processes wait for the slowest one at every step",
            try_="Look at its GPU (temperature, clocks, other programs) and at its machine's disk, or leave it out",
        )
