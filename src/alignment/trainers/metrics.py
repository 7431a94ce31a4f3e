"""Means over everything since the last log: over pairs, micro-steps and ranks, fillers excluded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from accelerate import Accelerator
from torch import Tensor

from alignment.modeling.logps import CompletionLogps


@dataclass
class MeanMeter:
    """Running weighted means that stay on the device until they are read.

    Every metric is a numerator and a denominator, so that a mean over pairs and a mean over tokens live
    side by side and no rank or micro-batch weighs more than its pairs.
    """

    _sums: dict[str, Tensor] = field(default_factory=dict)

    def add(self, terms: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        """Add `name -> (numerator, denominator)`, scalars."""
        for name, (numerator, denominator) in terms.items():
            pair = torch.stack([numerator.detach().float(), denominator.detach().float()])
            self._sums[name] = self._sums[name] + pair if name in self._sums else pair

    def pop(self, accelerator: Accelerator) -> dict[str, float]:
        """The means over all ranks; the meter is empty afterwards. A collective call: every rank makes it."""
        names = sorted(self._sums)
        if not names:
            return {}
        sums = accelerator.reduce(torch.stack([self._sums[name] for name in names]), reduction="sum")
        self._sums.clear()
        return {
            name: numerator / denominator
            for name, (numerator, denominator) in zip(names, sums.tolist(), strict=True)
            if denominator
        }


def preference_terms(
    logps: CompletionLogps, chosen_rewards: Tensor, rejected_rewards: Tensor, losses: Tensor, weight: Tensor
) -> dict[str, tuple[Tensor, Tensor]]:
    """What a preference method logs, under the reference's names, as terms of a `MeanMeter`.

    Args:
        logps: `2B` completions, chosen first.
        chosen_rewards, rejected_rewards, losses, weight: `[B]`.
    """
    chosen_means, rejected_means = logps.means.chunk(2)
    chosen_counts, rejected_counts = logps.counts.chunk(2)
    chosen_logits, rejected_logits = logps.logit_means.chunk(2)
    per_pair = {
        "preference_loss": losses,
        "rewards/chosen": chosen_rewards,
        "rewards/rejected": rejected_rewards,
        "rewards/accuracies": (chosen_rewards > rejected_rewards).to(losses.dtype),
        "rewards/margins": chosen_rewards - rejected_rewards,
        "logps/chosen": chosen_means,
        "logps/rejected": rejected_means,
        "logits/chosen": chosen_logits,
        "logits/rejected": rejected_logits,
        "lengths/chosen": chosen_counts,
        "lengths/rejected": rejected_counts,
    }
    total = weight.sum()
    terms = {name: ((value * weight).sum(), total) for name, value in per_pair.items()}
    chosen_sums = logps.sums.chunk(2)[0]
    terms["sft_loss"] = (-(chosen_sums * weight).sum(), (chosen_counts * weight).sum())
    return terms
