"""Steps are taken and nothing comes of them."""

from __future__ import annotations

from statistics import fmean

from alignment.run.callbacks.alarms.detector import Course, Finding, Log
from alignment.run.callbacks.alarms.statistics import level, rise

WEIGHTS = "weights/relative_change"
"""Norm of the change of the trained weights since the start, over their norm (`run.callbacks.movement`)."""
LEAST_CHANGE = 1e-5
"""After a run at 8e-7, Adam has changed weights of size 0.02 by about a thousandth of them."""
_FEWEST_STEPS = 5
_HALF, _LATE = 0.5, 0.75
_FEWEST_LOGS = 40
_ERRORS = 2.0


class NoMovement:
    """At half of the run the weights are where they began; or at three quarters rewards/margins (the loss, where there
    are no pairs) cannot be told from those of the first third."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._key = "rewards/margins" if course.rewarded else "loss"
        self._values: list[float] = []
        self._evaluated: list[float] = []

    def see(self, log: Log) -> Finding | None:
        done = log["step"] / max(1, self._course.steps)
        if WEIGHTS in log and done >= _HALF and log["step"] >= _FEWEST_STEPS and log[WEIGHTS] < LEAST_CHANGE:
            return self._finding(f"the trained weights have changed by {log[WEIGHTS]:.1g} of themselves")
        if f"eval_{self._key}" in log:
            self._evaluated.append(log[f"eval_{self._key}"])
        if self._key not in log:
            return None
        self._values.append(log[self._key])
        if done < _LATE or len(self._values) < _FEWEST_LOGS or not self._flat():
            return None
        now = fmean(self._values[-(len(self._values) // 3) :])
        return self._finding(f"{self._key} of {now:.3g} on average cannot be told from that of the first third")

    def _flat(self) -> bool:
        third = len(self._values) // 3
        first, last = self._values[:third], self._values[-third:]
        moved = abs(rise(first, last)) > _ERRORS
        # An evaluation sees the same rows each time, so that a change of a few standard errors of them is a change.
        evaluated = bool(self._evaluated) and abs(self._evaluated[-1] - self._evaluated[0]) > level(last).error
        return not (moved or evaluated)

    def _finding(self, saw: str) -> Finding:
        matters = "The two sides of a pair are no further apart than before training, so nothing has been learnt"
        return Finding(
            since=1,
            saw=saw,
            matters=matters if self._course.rewarded else "Nothing has been learnt",
            try_="Raise learning_rate (adapters take ten times that of full fine-tuning), keep fp32 weights (dtype: "
            "float32), and see that chosen and rejected differ by more than chance",
        )
