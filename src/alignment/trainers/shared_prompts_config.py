"""The settings that a trainer of TRL has besides its own once prompts are shared."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class SharedPromptsConfig:
    """Stands before a configuration of TRL."""

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
