"""RePO: ReLU-based Preference Optimization (arXiv 2503.07426)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from alignment.losses import repo_loss
from alignment.trainers.config import RePOConfig
from alignment.trainers.reference_free import ReferenceFreeTrainer


class RePOTrainer(ReferenceFreeTrainer):
    """A margin beyond which a pair is left alone; see `alignment.losses.repo_loss`."""

    _tag_names: ClassVar[list[str]] = ["repo", *ReferenceFreeTrainer._tag_names]
    args: RePOConfig

    def pair_losses(self, chosen_logps: Tensor, rejected_logps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return repo_loss(chosen_logps, rejected_logps, gamma=self.args.gamma)
