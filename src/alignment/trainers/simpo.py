"""SimPO: Simple Preference Optimization with a Reference-Free Reward (arXiv 2405.14734)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from alignment.losses import simpo_loss
from alignment.trainers.config import SimPOConfig
from alignment.trainers.reference_free import ReferenceFreeTrainer


class SimPOTrainer(ReferenceFreeTrainer):
    """Length-normalized reward with a target margin; see `alignment.losses.simpo_loss`."""

    _tag_names: ClassVar[list[str]] = ["simpo", *ReferenceFreeTrainer._tag_names]
    args: SimPOConfig

    def pair_losses(self, chosen_logps: Tensor, rejected_logps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return simpo_loss(
            chosen_logps,
            rejected_logps,
            beta=self.args.beta,
            gamma_beta_ratio=self.args.gamma_beta_ratio,
            label_smoothing=self.args.label_smoothing,
            loss_type=self.args.loss_type,
        )
