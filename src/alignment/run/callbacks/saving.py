"""When a run saves checkpoints: by the clock where the recipe says so, and not where the final model is written."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from alignment.run.callbacks.preemption import any_rank


class SaveSchedule(TrainerCallback):
    """Adds saves by time to the Trainer's own strategy, and takes away the one after the last step.

    After the last step the final model is saved in any case; a checkpoint of that step, optimizer states included,
    would be written for nothing. With `load_best_model_at_end` it may be the best one and stays.

    Args:
        every_minutes: save at the end of the first step that ends so long after the last save; `None` for never.
        now: seconds.
    """

    def __init__(self, every_minutes: float | None, *, now: Callable[[], float] = time.monotonic) -> None:
        self._seconds = None if every_minutes is None else 60 * every_minutes
        self._now = now
        self._saved_at = now()

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self._saved_at = self._now()

    def on_save(self, *_: Any, **__: Any) -> None:
        self._saved_at = self._now()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self._seconds is not None and any_rank(self._now() - self._saved_at >= self._seconds):
            control.should_save = True
        self._leave_out_last(args, state, control)

    def on_epoch_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._leave_out_last(args, state, control)

    @staticmethod
    def _leave_out_last(args: TrainingArguments, state: TrainerState, control: TrainerControl) -> None:
        if state.global_step >= state.max_steps and not args.load_best_model_at_end:
            control.should_save = False
