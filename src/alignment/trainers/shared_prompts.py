"""What the trainers that are TRL's with shared prompts have in common."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel
from transformers.trainer_utils import EvalLoopOutput

from alignment.modeling.dropout import disable_dropout
from alignment.modeling.paired_forward import share_prompts
from alignment.trainers.layouts import use_fast_path
from alignment.trainers.measured import MeasuredTrainer


class SharedPromptsTrainer(MeasuredTrainer):
    """Stands before a trainer of TRL for pairs, whose rows are `{prompt_ids, chosen_ids, rejected_ids}`."""

    _shared_prompts_by: str | None = None

    def share_prompts(self, model: PreTrainedModel, args: Any) -> None:
        """Let `model` compute the pairs of a micro-batch as one packed row, where `args` ask for it."""
        if args.packing:
            if args.disable_dropout:
                disable_dropout(model)  # attention's too, which TRL leaves
            self._shared_prompts_by = use_fast_path(model, args, share_prompts)[0]

    @property
    def attention_backend(self) -> str:
        return self._shared_prompts_by or super().attention_backend

    def _prepare_dataset(self, dataset: Any, *others: Any) -> Any:
        """Rows that are tokens already are taken as they are; TRL prepares all others."""
        if "prompt_ids" in (getattr(dataset, "column_names", None) or ()):
            return dataset
        return super()._prepare_dataset(dataset, *others)

    def evaluation_loop(self, *args: Any, metric_key_prefix: str = "eval", **others: Any) -> EvalLoopOutput:
        """TRL's, with the metrics that TRL only logs, so that the best model can be chosen by them."""
        output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **others)
        means = {name: sum(values) / len(values) for name, values in self._metrics["eval"].items()}
        output.metrics.update({f"{metric_key_prefix}_{name}": value for name, value in means.items()})
        return output
