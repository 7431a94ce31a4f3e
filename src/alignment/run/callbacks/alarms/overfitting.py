"""The training rows are memorized."""

from __future__ import annotations

from collections import deque
from statistics import fmean

from alignment.run.callbacks.alarms.detector import Course, Finding, Log

_RECENT = 10
_BEGINNING = 3
_EVALUATIONS = 2
GAP, FLOOR = 4.0, 0.1
"""The evaluation's loss over that of training, and their distance in units of the loss at the start."""
LIKELIHOOD_GAP, LIKELIHOOD_FLOOR = 1.4, 0.5
"""The same where the loss holds a likelihood, which never gets near 0; the distance in nats."""
RISE = 1.1
_SHOWN = 3
HEART, LIKELIHOOD_HEART = 0.02, 0.1
"""The training loss over that of the start, when rows are memorized."""
_RIGHT = 0.99


class Overfitting:
    """`eval_loss` is four times the training loss, or rises while that falls, in two evaluations in a row.

    Without evaluations: every row was shown three times, all are right and the loss is a fiftieth of what it was
    (a tenth, where it holds a likelihood).
    """

    def __init__(self, course: Course) -> None:
        self._course = course
        self._first: list[float] = []
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._accuracies: deque[float] = deque(maxlen=_RECENT)
        self._best: tuple[float, float] | None = None
        """The lowest loss of an evaluation, and that of training then."""
        self._bad: list[int] = []

    def see(self, log: Log) -> Finding | None:
        if "eval_loss" in log and self._recent:
            return self._evaluated(log)
        if "loss" not in log:
            return None
        if len(self._first) < _BEGINNING:
            self._first.append(log["loss"])
        self._recent.append(log["loss"])
        self._accuracies.append(log.get("rewards/accuracies", log.get("mean_token_accuracy", 0.0)))
        return self._unevaluated(log)

    def _evaluated(self, log: Log) -> Finding | None:
        loss, trained, began = log["eval_loss"], fmean(self._recent), fmean(self._first)
        if self._best is None or loss < self._best[0]:
            self._best = loss, trained
        apart = self._apart(loss, trained, began)
        rising = loss > RISE * self._best[0] + FLOOR * began and trained < self._best[1]
        if not (apart or rising):
            self._bad.clear()
            return None
        self._bad.append(int(log["step"]))
        if len(self._bad) < _EVALUATIONS:
            return None
        if rising:
            saw = f"the loss of the evaluation rose from {self._best[0]:.3g} to {loss:.3g} while that of training fell"
        else:
            saw = f"the loss is {loss:.3g} in evaluation and {trained:.3g} in training"
        return _finding(self._bad[0], f"{saw} to {trained:.3g}" if rising else saw)

    def _apart(self, loss: float, trained: float, began: float) -> bool:
        if self._course.anchored:
            return loss > LIKELIHOOD_GAP * trained and loss - trained > LIKELIHOOD_FLOOR
        return loss > GAP * trained and loss - trained > FLOOR * began

    def _unevaluated(self, log: Log) -> Finding | None:
        shown = log.get("epoch", 0.0) * self._course.repeats
        if self._best is not None or shown <= _SHOWN or len(self._recent) < _RECENT:
            return None
        heart = LIKELIHOOD_HEART if self._course.anchored else HEART
        if min(self._accuracies) < _RIGHT or fmean(self._recent) > heart * fmean(self._first):
            return None
        saw = f"every training row is right at a loss of {fmean(self._recent):.2g}, and there is no evaluation"
        return _finding(int(log["step"]), saw)


def _finding(since: int, saw: str) -> Finding:
    return Finding(
        since=since,
        saw=saw,
        matters="The training rows are memorized, and what is learned does not carry over to others",
        try_="Train fewer epochs or a lower learning_rate, take more rows (and repeated ones out), or keep the best "
        "checkpoint (load_best_model_at_end: true)",
    )
