"""Preference data in, aligned chat model out: SFT, DPO, SimPO and ORPO from one YAML recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alignment.lazy import lazily

__version__ = "1.0.0rc1"

if TYPE_CHECKING:
    from alignment.losses import orpo_loss, simpo_loss
    from alignment.methods import METHODS
    from alignment.recipe import Recipe, load_recipe
    from alignment.trainers.config import ORPOConfig, SimPOConfig
    from alignment.trainers.orpo import ORPOTrainer
    from alignment.trainers.simpo import SimPOTrainer

# Names are resolved on first use: `import alignment` must not import torch for a `--help` or a recipe error.
_EXPORTS = {
    "METHODS": "alignment.methods",
    "ORPOConfig": "alignment.trainers.config",
    "ORPOTrainer": "alignment.trainers.orpo",
    "Recipe": "alignment.recipe",
    "SimPOConfig": "alignment.trainers.config",
    "SimPOTrainer": "alignment.trainers.simpo",
    "load_recipe": "alignment.recipe",
    "orpo_loss": "alignment.losses",
    "simpo_loss": "alignment.losses",
}

__all__ = [
    "METHODS",
    "ORPOConfig",
    "ORPOTrainer",
    "Recipe",
    "SimPOConfig",
    "SimPOTrainer",
    "load_recipe",
    "orpo_loss",
    "simpo_loss",
]

__getattr__ = lazily(__name__, _EXPORTS)
