"""Settings of reward modeling: TRL's, and whether prompts are shared."""

from __future__ import annotations

from dataclasses import dataclass, field

import trl


@dataclass
class RewardConfig(trl.RewardConfig):
    """TRL's settings of reward modeling (Stiennon et al. 2020, arXiv 2009.01325, section 3.4)."""

    logging_nan_inf_filter: bool = field(
        default=False,
        metadata={"help": "Log a loss that is no number as the mean so far; costs a wait for the GPU a micro-batch."},
    )
    packing: bool = field(
        default=True,
        metadata={"help": "Compute every micro-batch as one packed row with shared prompts; equal losses, faster."},
    )
    allow_slow_attention: bool = field(
        default=False,
        metadata={"help": "Train a model of over 1B weights on a GPU for which no attention kernel works."},
    )
