"""SimPER: A Minimalist Approach to Preference Alignment without Hyperparameters (arXiv 2502.00883)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from alignment.losses import simper_loss
from alignment.trainers.reference_free import ReferenceFreeTrainer


class SimPERTrainer(ReferenceFreeTrainer):
    """The difference of two inverse perplexities; see `alignment.losses.simper_loss`."""

    _tag_names: ClassVar[list[str]] = ["simper", *ReferenceFreeTrainer._tag_names]

    def pair_losses(self, chosen_logps: Tensor, rejected_logps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return simper_loss(chosen_logps, rejected_logps)
