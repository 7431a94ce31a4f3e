"""A number that jumps far above where it was and stays there."""

from __future__ import annotations

from collections import deque
from statistics import fmean, median

from alignment.run.callbacks.alarms.detector import Log
from alignment.run.callbacks.alarms.statistics import spread

_REMEMBERED = 20
_FEWEST = 5
_BEGINNING = 3
_SPREADS = 10
_SURE_ROWS = 64
"""So many rows behind one log do not jump by chance; with fewer, two logs in a row must."""


class Spikes:
    """Compares each value with the median of those before it, and with the beginning of the run.

    Args:
        times: a jump is at least so many times the median.
        beginning: and at least so many times the mean of the first logs: a small loss or gradient that becomes an
            ordinary one again is no jump.
        batch: rows of one optimizer step.
    """

    def __init__(self, *, times: float, beginning: float, batch: int) -> None:
        self._times, self._beginning, self._batch = times, beginning, batch
        self._first: list[float] = []
        self._before: deque[float] = deque(maxlen=_REMEMBERED)
        self._high: list[int] = []
        self._step = 0
        self.usual = 0.0
        """The median before the jump."""

    def since(self, log: Log, value: float) -> int | None:
        """The first step of a jump that is certain with this log."""
        step = int(log["step"])
        rows, self._step = self._batch * (step - self._step), step
        if len(self._before) >= _FEWEST and self._jumps(value):
            self._high.append(step)
            return self._high[0] if rows >= _SURE_ROWS or len(self._high) > 1 else None
        self._high.clear()
        self._before.append(value)
        if len(self._first) < _BEGINNING:
            self._first.append(value)
        return None

    def _jumps(self, value: float) -> bool:
        self.usual = median(self._before)
        floor = max(self._times * self.usual, self.usual + _SPREADS * spread(self._before))
        return value > floor and value > self._beginning * fmean(self._first)
