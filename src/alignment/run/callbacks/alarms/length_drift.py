"""Answers become much longer or much shorter than any that were asked for."""

from __future__ import annotations

from alignment.run.callbacks.alarms.detector import Course, Finding, Log

TOKENS = "samples/tokens"
"""Mean length of the sampled answers (`run.callbacks.sampling`)."""
FACTOR = 2.5
_LEAST_TOKENS = 8
_SAMPLINGS = 2


class LengthDrift:
    """In two samplings in a row, answers are 2.5 times longer or shorter than both the first ones and the preferred
    answers of the data."""

    def __init__(self, course: Course) -> None:
        self._wanted = course.chosen_tokens
        self._first: float | None = None
        self._drifted: list[int] = []

    def see(self, log: Log) -> Finding | None:
        if TOKENS not in log:
            return None
        tokens = log[TOKENS]
        if self._first is None:
            self._first = tokens
            return None
        known = (self._first, self._wanted if self._wanted is not None else self._first)
        low, high = min(known) / FACTOR, max(max(known), _LEAST_TOKENS) * FACTOR
        if low <= tokens <= high:
            self._drifted.clear()
            return None
        self._drifted.append(int(log["step"]))
        if len(self._drifted) < _SAMPLINGS:
            return None
        return Finding(
            since=self._drifted[0],
            saw=f"sampled answers have {tokens:.0f} tokens, {self._first:.0f} before training"
            + (f" and {self._wanted:.0f} in the preferred answers of the data" if self._wanted is not None else ""),
            matters="Length is the easiest thing to learn from pairs, and no one asked for it",
            try_="Choose pairs of like length, lower learning_rate, and look at the answers in the log",
        )
