"""TRL's DPO, whose policy and reference model compute a micro-batch as one packed row with shared prompts.

Batches, losses, reference log-probabilities, output head and metrics are TRL's; only the transformer between the
embeddings and the last hidden states is ours.
"""

from __future__ import annotations

from typing import Any

import trl
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl.trainer.dpo_trainer import DataCollatorForPreference

from alignment.modeling.paired_forward import WithPairLengths
from alignment.trainers.dpo_config import DPOConfig
from alignment.trainers.shared_prompts import SharedPromptsTrainer


class DPOTrainer(SharedPromptsTrainer, trl.DPOTrainer):
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
        self.share_prompts(model, args)
        if args.packing:
            collator = others.get("data_collator") or preference_collator(args, processing_class)
            others["data_collator"] = WithPairLengths(collator)
        super().__init__(model=model, args=args, processing_class=processing_class, **others)
        if args.packing:
            if self.ref_model is not None:
                self.share_prompts(self.accelerator.unwrap_model(self.ref_model), args)
            self.measure_throughput(padded=False, forward_passes=3 if args.precompute_ref_log_probs else 4)


def preference_collator(args: DPOConfig, tokenizer: PreTrainedTokenizerBase) -> DataCollatorForPreference:
    """The collator that TRL's trainer would make for itself; padding is the tokenizer's business."""
    pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
    return DataCollatorForPreference(
        pad_token_id=pad,
        max_length=args.max_length,
        truncation_mode=args.truncation_mode,
        pad_to_multiple_of=args.pad_to_multiple_of,
    )
