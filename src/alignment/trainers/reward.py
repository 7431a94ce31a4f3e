"""Reward modeling: TRL's trainer, whose model computes a micro-batch as one packed row with shared prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import trl
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl.trainer.reward_trainer import DataCollatorForPreference

from alignment.trainers.reward_config import RewardConfig
from alignment.trainers.shared_prompts import SharedPromptsTrainer

_NAMES = {"accuracy": "rewards/accuracies", "margin": "rewards/margins"}
"""TRL's name of a metric -> what every method for pairs calls it."""


class RewardTrainer(SharedPromptsTrainer, trl.RewardTrainer):
    """`trl.RewardTrainer` with `packing`, over rows of tokens.

    Args:
        model: of one label, loaded.
        **others: as for `trl.RewardTrainer`.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        args: RewardConfig,
        *,
        processing_class: PreTrainedTokenizerBase,
        **others: Any,
    ) -> None:
        self.share_prompts(model, args)
        others["data_collator"] = RewardCollator(args, processing_class)
        super().__init__(model=model, args=args, processing_class=processing_class, **others)
        if args.packing:
            self.measure_throughput(padded=False)

    def _set_signature_columns_if_needed(self) -> None:
        self._signature_columns = ["prompt_ids", "chosen_ids", "rejected_ids"]

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Any:
        """TRL's, with the names of metrics that other methods have, and the mean reward of each side."""
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        metrics = self._metrics["train" if self.model.training else "eval"]
        for theirs, ours in _NAMES.items():
            metrics[ours] += metrics.pop(theirs)
        means = torch.stack([side.mean() for side in outputs.logits.detach().squeeze(-1).chunk(2)])
        means = self.accelerator.gather(means[None]).mean(0).tolist()
        for side, mean in zip(("chosen", "rejected"), means, strict=True):
            metrics[f"rewards/{side}"].append(mean)
        return (loss, outputs) if return_outputs else loss


class RewardCollator:
    """Pairs of tokens to the whole conversations that TRL pads: chosen rows first, then rejected ones.

    A pair with prompt `[5, 6]`, chosen `[7, 8]`, rejected `[9]` becomes the rows `[5, 6, 7, 8]` and `[5, 6, 9]`; with
    `packing` the batch also carries `pair_lengths [(2, 2, 1)]`.
    """

    def __init__(self, args: RewardConfig, tokenizer: PreTrainedTokenizerBase) -> None:
        pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        self._padded = DataCollatorForPreference(pad_token_id=pad, pad_to_multiple_of=args.pad_to_multiple_of)
        self._packing = args.packing

    def __call__(self, pairs: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, Any]:
        sides = ("chosen_ids", "rejected_ids")
        batch = self._padded([{side: [*pair["prompt_ids"], *pair[side]] for side in sides} for pair in pairs])
        if self._packing:
            batch["pair_lengths"] = [tuple(len(pair[part]) for part in ("prompt_ids", *sides)) for pair in pairs]
        return batch
