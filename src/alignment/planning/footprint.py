"""What a micro-batch takes, measured once by `tracked_step` and kept on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from transformers import PretrainedConfig

from alignment.data.disk_cache import keep
from alignment.data.fingerprint import digest_of
from alignment.files import cache_root
from alignment.planning.step import LAYERS, Footprint, Step
from alignment.planning.tracked_step import measure, with_layers
from alignment.recipe import ModelArguments

ALGORITHM = 1
"""Raised when the same step is measured in another way, so that what was kept is measured again."""


def footprint(model: ModelArguments, config: PretrainedConfig, step: Step) -> Footprint:
    """Of a micro-batch of the recipe's model; measured once and kept on disk.

    Raises:
        SetupError: what training would raise: the model cannot be packed, or its attention not be had.
    """
    shape = with_layers(config, LAYERS)
    key = digest_of([ALGORITHM, versions(), shape.to_dict(), shown(model), asdict(step)])
    kept = keep(cache_root() / "footprints" / key, lambda folder: asdict(measure(model, shape, step)))
    return Footprint(**kept.facts)


def shown(model: ModelArguments) -> Mapping[str, Any]:
    """What of the recipe's model section a footprint depends on."""
    return {
        name: value
        for name, value in asdict(model).items()
        if name.startswith(("lora", "use_", "load_in", "attn", "dtype"))
    }


def versions() -> list[str]:
    """Of what is run."""
    from importlib.metadata import version

    return [version(name) for name in ("torch", "transformers", "peft")]
