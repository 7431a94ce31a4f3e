"""A run whose loss or gradient is no longer a number stops before the update reaches weights or disk."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from alignment.data.sampler import even_plan, training_sampler
from alignment.errors import Fault, UserError
from alignment.output.checkpoints import last_whole
from alignment.trainers.reporting import ReportingTrainer


class Diverged(UserError):
    """Training cannot go on from here."""

    title = "Training stopped"


class StopOnNonFinite(TrainerCallback):
    """Checks the gradient of every optimizer step, over all ranks, before the step is taken.

    A loss that is NaN or infinite has a gradient that is, so one norm tells. DeepSpeed takes that norm itself
    and leaves out a step whose norm is not finite, without a word; here it ends the run.

    Args:
        trainer: the trainer that is watched. Rows of the training data that it knows to have a bad loss are named;
            otherwise all rows of the step.
    """

    def __init__(self, trainer: ReportingTrainer) -> None:
        self._trainer = trainer

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if args.fp16:  # its loss scaling meets infinite gradients on purpose, and skips those steps
            return
        if not math.isfinite(gradient_norm(kwargs["model"], kwargs["optimizer"])):
            raise Diverged(self._faults(step=state.global_step + 1))

    def _faults(self, *, step: int) -> list[Fault]:
        rows = self._trainer.rows_with_bad_loss()
        cause = Fault(
            key="loss" if rows else "gradient",
            rule="is not a finite number "
            + (f"for {_listed(rows)}" if rows else f"in a step of {_listed(rows_of_step(self._trainer, step))}"),
            remedy="look at those rows, lower learning_rate, or set max_grad_norm",
        )
        checkpoint = last_whole(Path(str(self._trainer.args.output_dir)))
        return [
            cause,
            Fault(
                key=f"optimizer step {step}",
                rule="was not taken; "
                + (f"the last good checkpoint is {checkpoint}" if checkpoint else "no checkpoint had been saved yet"),
            ),
        ]


def gradient_norm(model: nn.Module, optimizer: Any) -> float:
    """Norm of the whole gradient of this step, the same on every rank; NaN or infinite when any of it is.

    Args:
        model: the model whose parameters hold the gradients.
        optimizer: as the Trainer holds it, wrapped by accelerate; DeepSpeed's has taken the norm already.
    """
    sharded = getattr(optimizer, "optimizer", optimizer)
    if hasattr(sharded, "overflow"):
        return math.inf if sharded.overflow else float(getattr(sharded, "_global_grad_norm", 0.0))
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm(gradients)
    return float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)


def rows_of_step(trainer: Trainer, step: int) -> list[int]:
    """Rows of the training data in optimizer step `step`, counted from 1."""
    rows: Any = trainer.train_dataset
    sampler = training_sampler(
        trainer.args,
        num_rows=len(rows),
        global_batch_size=trainer.get_total_train_batch_size(trainer.args),
        plan=even_plan(1),
    )
    epoch, position = divmod(step - 1, max(1, sum(1 for _ in sampler.steps())))
    sampler.set_epoch(epoch)
    return next(islice(sampler.steps(), position, None), [])


def _listed(rows: Sequence[int], limit: int = 16) -> str:
    shown = ", ".join(str(row) for row in sorted(rows)[:limit])
    more = "" if len(rows) <= limit else f" and {len(rows) - limit} more"
    return f"row{'s' * (len(rows) != 1)} {shown}{more} of the training data"
