"""Answers repeat themselves."""

from __future__ import annotations

from alignment.run.callbacks.alarms.detector import Course, Finding, Log

REPEATED = "samples/repetition"
"""Share of the sampled answers that run in a loop (`generation.quality.loops`)."""
MOST, MORE = 0.3, 0.2
_SAMPLINGS = 2


class Repetition:
    """In two samplings in a row more than 0.3 of the answers loop, and 0.2 more than at first."""

    def __init__(self, course: Course) -> None:
        self._first: float | None = None
        self._high: list[int] = []

    def see(self, log: Log) -> Finding | None:
        if REPEATED not in log:
            return None
        share = log[REPEATED]
        if self._first is None:
            self._first = share
            return None
        if share <= max(MOST, self._first + MORE):
            self._high.clear()
            return None
        self._high.append(int(log["step"]))
        if len(self._high) < _SAMPLINGS:
            return None
        return Finding(
            since=self._high[0],
            saw=f"{share:.0%} of the sampled answers run in a loop, {self._first:.0%} before training",
            matters="Endless repetition is how a model breaks whose rate was too high (README of princeton-nlp/SimPO)",
            try_="Lower learning_rate, stop earlier, or add the likelihood of the preferred answer (sft_weight: 0.1)",
        )
