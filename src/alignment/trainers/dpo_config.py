"""Settings of DPO: TRL's, and whether prompts are shared."""

from __future__ import annotations

from dataclasses import dataclass, field

import trl


@dataclass
class DPOConfig(trl.DPOConfig):
    """TRL's settings of DPO (Rafailov et al. 2023, arXiv 2305.18290)."""

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
