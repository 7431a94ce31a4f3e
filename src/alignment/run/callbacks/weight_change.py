"""How far the trained weights have gone from where they began, in the log."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from alignment.run.callbacks.alarms.no_movement import WEIGHTS
from alignment.run.callbacks.extra_logs import log_beside
from alignment.run.callbacks.movement import sample_weights

_TIMES = 10
"""Logs in the whole run."""


class WeightChange(TrainerCallback):
    """Logs the norm of the change of a sample of the trained weights, over their norm, ten times in a run.

    A run that goes on from a checkpoint does not know its first weights and logs nothing.

    Args:
        trainer: the trainer that is watched.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._before: list[Tensor] = []

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: nn.Module, **_: Any
    ) -> None:
        self._before = sample_weights(model) if state.global_step == 0 else []

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: nn.Module, **_: Any
    ) -> None:
        if self._before and state.global_step % max(1, state.max_steps // _TIMES) == 0:
            change = relative_change(self._trainer, self._before, sample_weights(model))
            log_beside(self._trainer, {WEIGHTS: change})


def relative_change(trainer: Trainer, before: list[Tensor], now: list[Tensor]) -> float:
    """Over the weights of all ranks; a collective call."""
    pairs = list(zip(before, now, strict=True))
    change = sum(float((late.double() - early.double()).square().sum()) for early, late in pairs)
    whole = sum(float(early.double().square().sum()) for early, _ in pairs)
    sums = torch.tensor([change, whole], dtype=torch.float32, device=trainer.args.device)
    change, whole = trainer.accelerator.reduce(sums, reduction="sum").tolist()
    return (change / whole) ** 0.5 if whole else 0.0
