"""The loss is the same number again and again."""

from __future__ import annotations

from collections import deque

from alignment.run.callbacks.alarms.detector import Course, Finding, Log

LOGS = 10
_RELATIVE = 1e-6


class ConstantLoss:
    """`loss` of ten logs in a row agrees in six digits. Rows differ, so losses do, unless nothing reaches the loss."""

    def __init__(self, course: Course) -> None:
        self._recent: deque[tuple[int, float]] = deque(maxlen=LOGS)

    def see(self, log: Log) -> Finding | None:
        if "loss" not in log:
            return None
        self._recent.append((int(log["step"]), log["loss"]))
        losses = [loss for _, loss in self._recent]
        if len(losses) < LOGS or max(losses) - min(losses) > _RELATIVE * max(map(abs, losses)):
            return None
        since = self._recent[0][0]
        return _nothing_left(since) if max(map(abs, losses)) < _RELATIVE else _all_alike(since, losses[-1])


def _nothing_left(since: int) -> Finding:
    return Finding(
        since=since,
        saw=f"the loss has been 0 in {LOGS} logs",
        matters="Every pair is further apart than the loss asks for, so there is no gradient and nothing more to learn",
        try_="Stop here, ask for a larger margin, or lower learning_rate if it came within a few steps",
    )


def _all_alike(since: int, loss: float) -> Finding:
    return Finding(
        since=since,
        saw=f"the loss has been {loss:.6g} in {LOGS} logs",
        matters="Different rows have different losses, so either all rows are one, or the weights do not move",
        try_="Look at the training rows for repeated ones; raise learning_rate if rewards/margins stand still too",
    )
