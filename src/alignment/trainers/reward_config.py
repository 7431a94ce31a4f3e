"""Settings of reward modeling: TRL's, and whether prompts are shared."""

from __future__ import annotations

from dataclasses import dataclass

import trl

from alignment.trainers.shared_prompts_config import SharedPromptsConfig


@dataclass
class RewardConfig(SharedPromptsConfig, trl.RewardConfig):
    """TRL's settings of reward modeling (Stiennon et al. 2020, arXiv 2009.01325, section 3.4)."""
