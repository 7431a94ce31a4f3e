"""A run that is told to stop saves a checkpoint first."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import PartialState
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""SIGTERM is what a scheduler sends; SIGUSR1 is what launchers and batch scripts pass on to the workers."""


class StopOnSignal(TrainerCallback):
    """Ends training after the step in which any rank got a signal, with a checkpoint of that step.

    Signals reach ranks at different moments, and a checkpoint needs all of them, so the ranks agree after
    every optimizer step.
    """

    def __init__(self) -> None:
        self._asked = False
        self.stopped_at: int | None = None
        """The optimizer step after which training was ended; `None` when it was not."""

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signals until the block ends; before and after it they act as usual."""
        before = {number: signal.signal(number, self._ask) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, *_: Any) -> None:
        self._asked = True

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        if self.stopped_at is None and any_rank(self._asked):
            self.stopped_at = state.global_step
            control.should_save = True
            control.should_evaluate = False
            control.should_training_stop = True
        return control


def any_rank(flag: bool) -> bool:
    """Whether `flag` is set on any rank. A collective call."""
    state = PartialState()
    if state.num_processes == 1:
        return flag
    flags = torch.tensor(int(flag), device=state.device)
    torch.distributed.all_reduce(flags, op=torch.distributed.ReduceOp.MAX)
    return bool(flags.item())
