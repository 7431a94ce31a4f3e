"""Settings of DPO: TRL's, and whether prompts are shared."""

from __future__ import annotations

from dataclasses import dataclass

import trl

from alignment.trainers.shared_prompts_config import SharedPromptsConfig


@dataclass
class DPOConfig(SharedPromptsConfig, trl.DPOConfig):
    """TRL's settings of DPO (Rafailov et al. 2023, arXiv 2305.18290)."""
