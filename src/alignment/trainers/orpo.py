"""ORPO: Monolithic Preference Optimization without Reference Model (arXiv 2403.07691)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from alignment.losses import orpo_loss
from alignment.trainers.config import ORPOConfig
from alignment.trainers.reference_free import ReferenceFreeTrainer


class ORPOTrainer(ReferenceFreeTrainer):
    """Likelihood of the chosen completion plus an odds-ratio penalty; see `alignment.losses.orpo_loss`."""

    _tag_names: ClassVar[list[str]] = ["orpo", *ReferenceFreeTrainer._tag_names]
    args: ORPOConfig

    def pair_losses(self, chosen_logps: Tensor, rejected_logps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return orpo_loss(chosen_logps, rejected_logps, beta=self.args.beta)

    @property
    def sft_weight(self) -> float:
        """Equation 6 adds the chosen completion's negative log-likelihood with weight 1."""
        return 1.0
