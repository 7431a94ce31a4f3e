"""Preference data in, aligned chat model out: SFT, DPO, SimPO and ORPO from one YAML recipe."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from alignment.losses import orpo_loss, simpo_loss
    from alignment.methods import METHODS
    from alignment.recipe import Recipe, load_recipe
    from alignment.trainers.config import ORPOConfig, SimPOConfig
    from alignment.trainers.orpo import ORPOTrainer
    from alignment.trainers.simpo import SimPOTrainer

# Names are resolved on first use: `import alignment` must not import torch for a `--help` or a recipe error.
_EXPORTS = {
    "METHODS": "methods",
    "ORPOConfig": "trainers.config",
    "ORPOTrainer": "trainers.orpo",
    "Recipe": "recipe",
    "SimPOConfig": "trainers.config",
    "SimPOTrainer": "trainers.simpo",
    "load_recipe": "recipe",
    "orpo_loss": "losses",
    "simpo_loss": "losses",
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


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_EXPORTS[name]}", __name__), name)
