"""The gradient jumps."""

from __future__ import annotations

from alignment.run.callbacks.alarms.detector import Course, Finding, Log
from alignment.run.callbacks.alarms.spikes import Spikes

TIMES = 10.0
BEGINNING = 3.0


class GradientSpike:
    """`grad_norm`, taken before clipping, is ten times its median and three times that of the first logs."""

    def __init__(self, course: Course) -> None:
        self._spikes = Spikes(times=TIMES, beginning=BEGINNING, batch=course.batch)

    def see(self, log: Log) -> Finding | None:
        if "grad_norm" not in log or (since := self._spikes.since(log, log["grad_norm"])) is None:
            return None
        return Finding(
            since=since,
            saw=f"the norm of the gradient is {log['grad_norm']:.3g} after a median of {self._spikes.usual:.3g}",
            matters="A few rows, or a step too long, decide the update; unclipped it goes into the weights whole",
            try_="Set max_grad_norm: 1.0, lower learning_rate, or look at the rows of those steps",
        )
