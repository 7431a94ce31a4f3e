"""Settings of supervised fine-tuning: TRL's, and which answers are trained."""

from __future__ import annotations

from dataclasses import dataclass, field

import trl

from alignment.data.rules import AssistantTurns


@dataclass
class SFTConfig(trl.SFTConfig):
    """TRL's settings of supervised fine-tuning."""

    assistant_turns: AssistantTurns = field(
        default="all", metadata={"help": "Train every answer of a conversation, or the last one alone."}
    )
