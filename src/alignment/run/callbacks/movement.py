"""A run whose weights did not change trained nothing, whatever its log says."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from alignment.errors import Fault, UserError
from alignment.run.callbacks.preemption import any_rank

_SAMPLED = 4096
"""Weights of each parameter that are compared, spread evenly."""


class NothingTrained(UserError):
    """Training came to its end and left the model as it was."""

    title = "The run did not train"


class WeightsMove(TrainerCallback):
    """Compares weights after training with those before it.

    Raises:
        NothingTrained: steps were taken, and none of the compared weights changed on any rank.
    """

    def __init__(self) -> None:
        self._before: list[Tensor] = []
        self._begun = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: nn.Module, **_: Any
    ) -> None:
        self._before, self._begun = sample_weights(model), state.global_step

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: nn.Module, **_: Any
    ) -> None:
        pairs = zip(self._before, sample_weights(model), strict=True)
        moved = any_rank(any(not torch.equal(before, after) for before, after in pairs))
        if state.global_step > self._begun and not moved:
            rates = {entry["learning_rate"] for entry in state.log_history if "learning_rate" in entry}
            reason = "every update was lost to rounding"
            if rates == {0.0}:
                reason = "it was 0 in every step"
            elif args.load_best_model_at_end:
                reason = f"the best model ({args.metric_for_best_model}) is the one that training began with"
            raise NothingTrained(
                Fault(
                    key="learning_rate",
                    value=args.learning_rate,
                    rule=f"changed no weight in {state.global_step - self._begun} steps: {reason}",
                    remedy="raise it, take more steps than the warm-up has, or keep fp32 weights (dtype: float32)",
                )
            )


def sample_weights(model: nn.Module) -> list[Tensor]:
    """Up to `_SAMPLED` weights of each trained parameter, as this rank holds it: `[n]` each, copied to the CPU."""
    return [_sample(parameter) for parameter in model.parameters() if parameter.requires_grad]


def _sample(parameter: nn.Parameter) -> Tensor:
    local = getattr(parameter, "ds_tensor", parameter).detach()  # what ZeRO-3 keeps of it on this rank
    local = (local.to_local() if hasattr(local, "to_local") else local).flatten()
    return local[:: max(1, local.numel() // _SAMPLED)][:_SAMPLED].cpu().clone()
