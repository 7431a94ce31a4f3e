"""Margins grow and no more pairs are ranked rightly."""

from __future__ import annotations

from statistics import fmean

from alignment.run.callbacks.alarms.detector import Course, Finding, Log
from alignment.run.callbacks.alarms.statistics import rise

_FEWEST_LOGS = 30
_CERTAIN, _CHANCE = 4.0, 1.0
_SOLVED = 0.9
GROWTH = 1.0
"""In units of the reward, whose sigmoid is the probability that the loss takes."""


class MarginsWithoutAccuracy:
    """Between the first and the last third of the logs `rewards/margins` grow, accuracy and loss do not improve."""

    def __init__(self, course: Course) -> None:
        self._steps: list[int] = []
        self._series: dict[str, list[float]] = {"rewards/margins": [], "rewards/accuracies": [], "loss": []}

    def see(self, log: Log) -> Finding | None:
        if any(name not in log for name in self._series):
            return None
        self._steps.append(int(log["step"]))
        for name, values in self._series.items():
            values.append(log[name])
        if len(self._steps) < _FEWEST_LOGS:
            return None
        third = len(self._steps) // 3
        first, last = ({name: values[part] for name, values in self._series.items()} for part in _ends(third))
        change = {name: rise(first[name], last[name]) for name in first}
        margins = fmean(first["rewards/margins"]), fmean(last["rewards/margins"])
        accuracy = fmean(last["rewards/accuracies"])
        grown = change["rewards/margins"] > _CERTAIN and margins[1] > max(2 * margins[0], margins[0] + GROWTH)
        if not grown or change["rewards/accuracies"] > _CHANCE or change["loss"] < -_CHANCE or accuracy >= _SOLVED:
            return None
        return Finding(
            since=self._steps[third],
            saw=f"rewards/margins grew from {margins[0]:.3g} to {margins[1]:.3g} while {accuracy:.0%} of the pairs "
            "stay ranked rightly and the loss does not fall",
            matters="Pairs that were right are pushed further apart and wrong ones further the wrong way: the model "
            "becomes sure, not better",
            try_="Lower learning_rate or beta, look at the labels of the pairs that stay wrong, or try label_smoothing",
        )


def _ends(third: int) -> tuple[slice, slice]:
    return slice(None, third), slice(-third, None)
