"""AlphaPO: Reward Shape Matters for LLM Alignment (arXiv 2501.03884)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from alignment.losses import alphapo_loss
from alignment.trainers.config import AlphaPOConfig
from alignment.trainers.reference_free import ReferenceFreeTrainer


class AlphaPOTrainer(ReferenceFreeTrainer):
    """SimPO with a reward of another shape; see `alignment.losses.alphapo_loss`."""

    _tag_names: ClassVar[list[str]] = ["alphapo", *ReferenceFreeTrainer._tag_names]
    args: AlphaPOConfig

    def pair_losses(self, chosen_logps: Tensor, rejected_logps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return alphapo_loss(
            chosen_logps,
            rejected_logps,
            beta=self.args.beta,
            gamma_beta_ratio=self.args.gamma_beta_ratio,
            alpha=self.args.alpha,
        )
