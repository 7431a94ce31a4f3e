"""Supervised fine-tuning: TRL's trainer over rows that were tokenized, labeled and judged before."""

from __future__ import annotations

import copy
from typing import Any

import trl
from transformers import PreTrainedModel

from alignment.trainers.reporting import ReportingTrainer
from alignment.trainers.sft_config import SFTConfig


class SFTTrainer(ReportingTrainer, trl.SFTTrainer):
    """`trl.SFTTrainer`; rows of `input_ids` and `labels` are trained as they are.

    Args:
        model: loaded.
        **others: as for `trl.SFTTrainer`; rows of another form are prepared by TRL.
    """

    def __init__(self, model: PreTrainedModel, args: SFTConfig, *, train_dataset: Any, **others: Any) -> None:
        if _labeled(train_dataset):
            args = copy.copy(args)
            args.assistant_only_loss = False  # the labels have it already, and TRL would look for messages
        super().__init__(model=model, args=args, train_dataset=train_dataset, **others)

    def _prepare_dataset(self, dataset: Any, processing_class: Any, args: Any, packing: bool, *rest: Any) -> Any:
        if _labeled(dataset) and not packing and not args.shuffle_dataset:
            return dataset
        return super()._prepare_dataset(dataset, processing_class, args, packing, *rest)


def _labeled(dataset: Any) -> bool:
    return "labels" in (getattr(dataset, "column_names", None) or ())
