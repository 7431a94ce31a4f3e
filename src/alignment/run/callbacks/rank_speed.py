"""How fast each process is by itself, in the log of a run of several."""

from __future__ import annotations

import time
from collections.abc import Sequence
from statistics import median
from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from alignment.run.callbacks.alarms.lagging_rank import RANK, SLOWEST
from alignment.run.callbacks.extra_logs import log_beside

EVERY = 50
_SIZE = {"cuda": 4096, "cpu": 256}
"""Rows of the square matrices that are multiplied."""
_SECONDS = 0.03


class RankSpeed(TrainerCallback):
    """Every 50 steps each process multiplies matrices for some hundredths of a second, without waiting for the others.

    The time of a whole step would not do: all ranks wait for the slowest in every collective operation, so theirs is
    the same. To it is added what this rank has waited for its own rows since the last time, a step on average.

    Args:
        trainer: the trainer that is watched.
        every: steps.
    """

    def __init__(self, trainer: Trainer, *, every: int = EVERY) -> None:
        self._trainer = trainer
        self._every = every
        self._mark: float | None = None
        self._waited = 0.0

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        if self._mark is not None:
            self._waited += time.perf_counter() - self._mark

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step % self._every == 0:
            self._measure(args.device)
        # What is logged, evaluated or saved between two steps is no waiting for rows.
        busy = control.should_log or control.should_evaluate or control.should_save
        self._mark = None if busy else time.perf_counter()

    def _measure(self, device: torch.device) -> None:
        own = torch.tensor([multiplication_seconds(device) + self._waited / self._every], device=device)
        self._waited = 0.0
        seconds = self._trainer.accelerator.gather(own).tolist()
        log_beside(self._trainer, slowest(seconds))


def slowest(seconds: Sequence[float]) -> dict[str, float]:
    """What is logged of the seconds of each rank."""
    rank = max(range(len(seconds)), key=seconds.__getitem__)
    others = [value for number, value in enumerate(seconds) if number != rank]
    return {SLOWEST: seconds[rank] / median(others), RANK: rank}


def multiplication_seconds(device: torch.device) -> float:
    """Median seconds of one product of matrices on `device`."""
    size = _SIZE.get(device.type, 256)
    matrix = torch.ones(size, size, device=device, dtype=torch.bfloat16 if device.type == "cuda" else torch.float32)
    torch.mm(matrix, matrix)
    spent: list[float] = []
    while sum(spent) < _SECONDS:
        _wait(device)
        started = time.perf_counter()
        torch.mm(matrix, matrix)
        _wait(device)
        spent.append(time.perf_counter() - started)
    return median(spent)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
