"""A trainer whose loop takes whole optimizer steps, each of as many micro-batches as it needs.

transformers' own loop accumulates over a fixed number of micro-batches: it counts them modulo
`gradient_accumulation_steps`, to take a step, to skip what a resumed run has trained on, and to shorten an epoch's last
step. So the number is 1 here, one batch of the loop is a list of micro-batches, and `training_step` accumulates.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from accelerate.utils import DistributedType
from torch import Tensor, nn
from transformers import TrainingArguments

from alignment.trainers.measured import MeasuredTrainer


class WholeStepTrainer(MeasuredTrainer):
    """Its training loader yields lists of micro-batches (`collated_step`).

    Args:
        args: told to accumulate once, when the trainer is made. DeepSpeed's engine keeps the number that they held
            before, which is the largest of any step; it steps when it is told to.
        **others: as for `transformers.Trainer`.
    """

    def __init__(self, *, args: TrainingArguments, **others: Any) -> None:
        super().__init__(args=args, **others)
        self.args.gradient_accumulation_steps = 1

    def training_step(
        self, model: nn.Module, inputs: Sequence[Mapping[str, Any]], num_items_in_batch: Tensor | None = None
    ) -> Tensor:
        """Forward and backward of every micro-batch of an optimizer step; the sum of their losses.

        Only the gradients of plain data parallel runs wait for the last micro-batch to be averaged: those of a
        sharded model would have to be held whole until then.
        """
        deferred = self.accelerator.distributed_type in (DistributedType.MULTI_GPU, DistributedType.MULTI_CPU)
        losses = []
        for number, micro_batch in enumerate(inputs, start=1):
            last = number == len(inputs)
            self.accelerator.gradient_state._set_sync_gradients(last)  # what DeepSpeed's engine steps by, too
            with self.accelerator.no_sync(model) if deferred and not last else contextlib.nullcontext():
                losses.append(super().training_step(model, micro_batch, num_items_in_batch))
        return torch.stack(losses).sum()

    def floating_point_ops(self, inputs: Sequence[Mapping[str, Any]]) -> int:
        return sum(map(super().floating_point_ops, inputs))

    def _track_num_input_tokens(self, inputs: Sequence[Mapping[str, Any]]) -> None:
        for micro_batch in inputs:
            super()._track_num_input_tokens(micro_batch)


def collated_step(
    collator: Callable[[Sequence[Any]], dict[str, Any]], micro_batches: Sequence[Sequence[Any]]
) -> list[dict[str, Any]]:
    """The batches of an optimizer step; a function of the module, because workers of the loader are sent it."""
    return [collator(pairs) for pairs in micro_batches]
