"""The rejected answers become far too improbable."""

from __future__ import annotations

from alignment.run.callbacks.alarms.detector import Course, Finding, Log
from alignment.run.callbacks.alarms.falling import Falling

BOUND = 4.0
"""Nats a token. Published runs that work push the rejected answers down by 0.3 to 0.8 under SimPO and by 1 to 1.6 under
DPO (rejected from -330 to -767, RikkiXu/zephyr-7b-dpo-full); what loses 4 has a fiftieth of its probability left."""


class RejectedFalls:
    """The mean log-probability of a token of the rejected answers, over three logs, falls by more than the bound."""

    def __init__(self, course: Course) -> None:
        self._falling = Falling(course, "rejected") if course.rewarded else None

    def see(self, log: Log) -> Finding | None:
        fall = self._falling.see(log) if self._falling else None
        if fall is None or fall.nats <= BOUND:
            return None
        return Finding(
            since=fall.since,
            saw=f"a token of the rejected answers has lost {fall.nats:.2f} nats of log-probability; the bound is "
            f"{BOUND:g}",
            matters="Rejected answers are ordinary text for the most part, and with them the model unlearns that",
            try_="Lower learning_rate; a margin that is reached already asks for no more steps",
        )
