"""Fewer pairs are ranked rightly than by chance."""

from __future__ import annotations

import math
from collections import deque

from alignment.run.callbacks.alarms.detector import Course, Finding, Log
from alignment.run.callbacks.alarms.statistics import level

ERRORS = 4.0
"""Standard deviations below one half."""
EVALUATED_ERRORS = 3.0
"""The same for an evaluation of at least twelve rows, twice and with a negative margin."""
_LATE = 0.5
_FEWEST_PAIRS = 100
_FEWEST_LOGS = 5
_EVALUATIONS = 2


class BelowChance:
    """`rewards/accuracies` in the second half of the run, of training or of two evaluations, far below one half."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._step = 0
        self._logs: deque[tuple[int, int, float, float]] = deque()
        self._low: list[int] = []

    def see(self, log: Log) -> Finding | None:
        if not self._course.rewarded:
            return None
        if "eval_rewards/accuracies" in log and "eval_rewards/margins" in log:
            return self._evaluated(log)
        if "rewards/accuracies" not in log or "rewards/margins" not in log:
            return None
        step = int(log["step"])
        pairs, self._step = self._course.batch * (step - self._step), step
        if not self._late(log):
            return None
        self._logs.append((step, pairs, log["rewards/accuracies"], log["rewards/margins"]))
        while len(self._logs) > _FEWEST_LOGS and sum(pairs for _, pairs, *_ in self._logs) > 2 * _FEWEST_PAIRS:
            self._logs.popleft()
        return self._trained()

    def _late(self, log: Log) -> bool:
        return log["step"] > _LATE * self._course.steps

    def _trained(self) -> Finding | None:
        total = sum(pairs for _, pairs, *_ in self._logs)
        if total < _FEWEST_PAIRS or len(self._logs) < _FEWEST_LOGS:
            return None
        accuracy = sum(pairs * right for _, pairs, right, _ in self._logs) / total
        margins = level([margin for *_, margin in self._logs])
        if below_one_half(accuracy, total) < ERRORS or margins.mean + 2 * margins.error >= 0:
            return None
        return _finding(self._logs[0][0], f"{accuracy:.0%} of {total} training pairs are ranked rightly")

    def _evaluated(self, log: Log) -> Finding | None:
        accuracy, rows = log["eval_rewards/accuracies"], self._course.evaluation_rows
        if not self._late(log) or below_one_half(accuracy, rows) < EVALUATED_ERRORS or log["eval_rewards/margins"] >= 0:
            self._low.clear()
            return None
        self._low.append(int(log["step"]))
        if len(self._low) < _EVALUATIONS:
            return None
        return _finding(self._low[0], f"{accuracy:.0%} of {rows} evaluation pairs are ranked rightly")


def below_one_half(accuracy: float, pairs: int) -> float:
    """How many standard deviations of a fair coin thrown `pairs` times."""
    return (0.5 - accuracy) * 2 * math.sqrt(pairs)


def _finding(since: int, saw: str) -> Finding:
    return Finding(
        since=since,
        saw=f"only {saw}",
        matters="Guessing does better: the labels say the opposite of what is learned, or nothing has been learned yet",
        try_="See that chosen and rejected are not exchanged, in training or in evaluation, and raise learning_rate if "
        "the accuracy has not moved since the start",
    )
