"""TRL's DPO, whose policy and reference model compute a micro-batch as one packed row with shared prompts.

Batches, losses, reference log-probabilities, output head and metrics are TRL's; only the transformer between the
embeddings and the last hidden states is ours.
"""

from __future__ import annotations

from typing import Any

import trl
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.trainer_utils import EvalLoopOutput
from trl.trainer.dpo_trainer import DataCollatorForPreference

from alignment.modeling.dropout import disable_dropout
from alignment.modeling.paired_forward import WithPairLengths, share_prompts
from alignment.trainers.dpo_config import DPOConfig
from alignment.trainers.layouts import use_fast_path
from alignment.trainers.measured import MeasuredTrainer


class DPOTrainer(MeasuredTrainer, trl.DPOTrainer):
    """`trl.DPOTrainer` with `packing`.

    A reference model that TRL loads and drops within `__init__` (FSDP with `precompute_ref_log_probs`) computes padded
    rows, with the same result.

    Args:
        model: loaded; TRL loads the reference model itself, where one is needed.
        **others: as for `trl.DPOTrainer`.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        args: DPOConfig,
        *,
        processing_class: PreTrainedTokenizerBase,
        **others: Any,
    ) -> None:
        self._shared_prompts_by: str | None = None
        if args.packing:
            self._shared_prompts_by = self._share_prompts(model, args)
            collator = others.get("data_collator") or preference_collator(args, processing_class)
            others["data_collator"] = WithPairLengths(collator)
        super().__init__(model=model, args=args, processing_class=processing_class, **others)
        if args.packing:
            if self.ref_model is not None:
                self._share_prompts(self.accelerator.unwrap_model(self.ref_model), args)
            self.measure_throughput(padded=False, forward_passes=3 if args.precompute_ref_log_probs else 4)

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

    @staticmethod
    def _share_prompts(model: PreTrainedModel, args: DPOConfig) -> str:
        if args.disable_dropout:
            disable_dropout(model)  # attention's too, which TRL leaves
        return use_fast_path(model, args, share_prompts)[0]


def preference_collator(args: DPOConfig, tokenizer: PreTrainedTokenizerBase) -> DataCollatorForPreference:
    """The collator that TRL's trainer would make for itself; padding is the tokenizer's business."""
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    return DataCollatorForPreference(
        pad_token_id=pad,
        max_length=args.max_length,
        truncation_mode=args.truncation_mode,
        pad_to_multiple_of=args.pad_to_multiple_of,
    )
