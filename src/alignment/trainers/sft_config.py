"""Settings of supervised fine-tuning: TRL's, and which answers are trained."""

from __future__ import annotations

from dataclasses import dataclass, field

import trl

from alignment.data.token_rules import AssistantTurns


@dataclass
class SFTConfig(trl.SFTConfig):
    """TRL's settings of supervised fine-tuning."""

    logging_nan_inf_filter: bool = field(
        default=False,
        metadata={"help": "Log a loss that is no number as the mean so far; costs a wait for the GPU a micro-batch."},
    )
    assistant_turns: AssistantTurns = field(
        default="all", metadata={"help": "Train every answer of a conversation, or the last one alone."}
    )
