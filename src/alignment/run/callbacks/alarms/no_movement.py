"""Training changes hardly anything."""

from __future__ import annotations

from statistics import fmean

from alignment.run.callbacks.alarms.below_chance import below_one_half
from alignment.run.callbacks.alarms.detector import Course, Finding, Log
from alignment.run.callbacks.alarms.statistics import level, rise

WEIGHTS = "weights/relative_change"
"""Norm of the change of the trained weights since the start, over their norm (`run.callbacks.movement`)."""
LEAST_CHANGE = 1e-5
"""After a run at 8e-7, Adam has changed weights of size 0.02 by about a thousandth of them."""
_FEWEST_STEPS = 5
LEAST_ADAPTER_CHANGE = 2e-4
"""Adapters begin at zero, and have to change by more."""
_HALF, _LATE = 0.5, 0.75
_FEWEST_LOGS = 20
_ERRORS, _CHANCE = 2.0, 1.5
_SAME_LOSS = 0.002
"""Share of its first value by which the loss of an evaluation of the same rows has to fall."""


class NoMovement:
    """At half of the run the weights are where they began; or at three quarters of it the pairs are.

    Pairs are where they began when rewards/margins have not risen since the first third of the logs and those of the
    evaluation have not either; without evaluations, when the loss has not fallen either and no more pairs are
    ranked rightly than by chance. Where there are no pairs, the loss of the evaluation tells.
    """

    def __init__(self, course: Course) -> None:
        self._course = course
        self._least = LEAST_ADAPTER_CHANGE if course.adapters else LEAST_CHANGE
        self._losses: list[float] = []
        self._margins: list[float] = []
        self._accuracies: list[float] = []
        self._evaluated: list[float] = []

    def see(self, log: Log) -> Finding | None:
        done = log["step"] / max(1, self._course.steps)
        if WEIGHTS in log and done >= _HALF and log["step"] >= _FEWEST_STEPS and log[WEIGHTS] < self._least:
            return self._finding(f"the trained weights have changed by {log[WEIGHTS]:.1g} of themselves")
        if not self._course.rewarded:
            return self._likelihood(log, late=done >= _LATE)
        if "eval_rewards/margins" in log:
            self._evaluated.append(log["eval_rewards/margins"])
        if any(name not in log for name in ("loss", "rewards/margins", "rewards/accuracies")):
            return None
        self._losses.append(log["loss"])
        self._margins.append(log["rewards/margins"])
        self._accuracies.append(log["rewards/accuracies"])
        if done < _LATE or len(self._margins) < _FEWEST_LOGS:
            return None
        return self._pairs(pairs=log["step"] * self._course.batch)

    def _pairs(self, *, pairs: float) -> Finding | None:
        third = len(self._margins) // 3
        first, last = self._margins[:third], self._margins[-third:]
        accuracy = fmean(self._accuracies[-third:])
        if self._evaluated:
            risen = self._evaluated[-1] - self._evaluated[0] > level(last).error / 2
        else:
            better = rise(self._losses[:third], self._losses[-third:]) < -_ERRORS
            risen = better or -below_one_half(accuracy, int(pairs / 3)) > _CHANCE
        if risen or rise(first, last) > _ERRORS:
            return None
        return self._finding(
            f"rewards/margins of {fmean(last):.3g} are no higher than the {fmean(first):.3g} of the first third, with "
            f"{accuracy:.0%} of the pairs ranked rightly"
        )

    def _likelihood(self, log: Log, *, late: bool) -> Finding | None:
        if "eval_loss" not in log:
            return None
        self._evaluated.append(log["eval_loss"])
        first, last = self._evaluated[0], self._evaluated[-1]
        if not late or len(self._evaluated) < 2 or abs(last - first) > _SAME_LOSS * abs(first):
            return None
        return self._finding(f"the loss of the evaluation is {last:.4g} after {first:.4g}")

    def _finding(self, saw: str) -> Finding:
        matters = "The two sides of a pair are no further apart than before training, so nothing has been learned"
        return Finding(
            since=1,
            saw=saw,
            matters=matters if self._course.rewarded else "Nothing has been learned",
            try_="Raise learning_rate (adapters take ten times that of full fine-tuning), keep fp32 weights (dtype: "
            "float32), and see that chosen and rejected differ by more than chance",
        )
