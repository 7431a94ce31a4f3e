"""How large a model is and what its saves write, from what is known without loading it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from alignment.hub.bundled import is_bundled

PARAMETERS = {
    "google/gemma-2-2b*": 2.61e9,
    "google/gemma-2-9b*": 9.24e9,
    "google/gemma-2-27b*": 27.2e9,
    "*/Meta-Llama-3-8B*": 8.03e9,
    "meta-llama/Llama-3.1-8B*": 8.03e9,
    "princeton-nlp/Llama-3-Base-8B-SFT*": 8.03e9,
    "mistralai/Mistral-7B-*": 7.24e9,
    "alignment-handbook/*7b-sft-*": 7.24e9,
    "teknium/OpenHermes-2.5-Mistral-7B": 7.24e9,
    "mistral-community/Mixtral-8x22B-v0.1": 140.6e9,
    "google/gemma-7b": 8.54e9,
    "HuggingFaceH4/zephyr-7b-gemma-sft-v0.1": 8.54e9,
    "google/gemma-3-4b*": 4.3e9,
    "Qwen/Qwen3-8B": 8.19e9,
    "meta-llama/Llama-3.2-1B*": 1.24e9,
    "*SmolLM3-3B*": 3.08e9,
    "*[Ss]mol[Ll][Mm]*-135M*": 0.135e9,
    "*[Ss]mol[Ll][Mm]*-360M*": 0.362e9,
    "*[Ss]mol[Ll][Mm]*-1.7B*": 1.71e9,
    "bigcode/starcoder2-15b": 16.0e9,
    "HuggingFaceH4/starchat2-15b-*": 16.0e9,
}
"""Weights of models by id; `*` stands for anything."""

_BYTES = {"float32": 4, "float64": 8}
_ADAM_BYTES = {"8bit": 2, "4bit": 1}


def adam_bytes(optimizer: str) -> int:
    """Bytes a trained weight that AdamW's two moments take: fp32, unless the optimizer's name says otherwise."""
    return next((size for word, size in _ADAM_BYTES.items() if word in optimizer), 8)


@dataclass(frozen=True, kw_only=True)
class Saves:
    """Bytes of what a run saves; upper estimates."""

    final: float
    """The final model, in the precision of training."""
    checkpoint: float | None
    """One checkpoint: weights, fp32 master weights and optimizer states. `None` for adapters, which are small."""


def saves_of(settings: Mapping[str, Any], parameters: float | None = None) -> Saves | None:
    """Of a recipe's settings; `None` when nothing here tells how large its model is.

    Args:
        parameters: weights of the model, where they have been counted.
    """
    parameters = parameters or parameters_of(settings["model_name_or_path"])
    if parameters is None:
        return None
    half = settings.get("bf16") or settings.get("fp16")
    itemsize = 2 if half else _BYTES.get(settings.get("dtype") or "float32", 2)
    # Sharded runs in 16 bits keep fp32 master weights beside what they train; others train fp32 weights themselves.
    each = itemsize + (4 if half else 0) + adam_bytes(settings.get("optim") or "adamw_torch")
    return Saves(final=itemsize * parameters, checkpoint=None if settings.get("use_peft") else each * parameters)


def parameters_of(name: str) -> float | None:
    """Weights of a model: from the safetensors of a local folder or of the Hub's cache, else from `PARAMETERS`."""
    folder = Path(name) if Path(name).is_dir() else _snapshot(name)
    if folder is not None and (stored := sum(file.stat().st_size for file in folder.glob("*.safetensors"))):
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return stored / _BYTES.get(config.get("dtype") or config.get("torch_dtype") or "float32", 2)
    return next((count for pattern, count in PARAMETERS.items() if fnmatchcase(name, pattern)), None)


def _snapshot(name: str) -> Path | None:
    """Where the Hub's cache holds a repository."""
    if is_bundled(name):
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, "config.json")
    return Path(found).parent if isinstance(found, str) else None


def saves_text(settings: Mapping[str, Any]) -> str:
    """What the saves of a recipe write, when, and what a crash loses, in one paragraph."""
    sizes = saves_of(settings)
    minutes, strategy = settings.get("save_every_minutes"), settings.get("save_strategy") or "steps"
    if minutes is not None:
        when, lost = f"every {minutes:g} minutes", f"{minutes:g} minutes"
    elif strategy == "steps":
        every = settings.get("save_steps") or 500
        when = f"every {every:g} steps" if every >= 1 else f"every {every:.0%} of the run"
        lost = when.removeprefix("every ")
    elif strategy == "no":
        when, lost = "none but what a signal asks for", "all of the run"
    else:
        when, lost = f"by {strategy}", "what was trained since the last one"
    limit = settings.get("save_total_limit")
    kept = f"{limit} kept" if limit else "all kept"
    if sizes is None:
        size, final = "of unknown size until the model is here (make data)", "the final model"
    else:
        final = f"the final model, {_gb(sizes.final)}"
        size = "adapters and their optimizer alone" if sizes.checkpoint is None else f"{_gb(sizes.checkpoint)} each"
    return (
        f"Saves: {final}; checkpoints {when}, {size}, {kept}, none at the last step. "
        f"A crash loses {lost} at most; SIGTERM saves first."
    )


def _gb(size: float) -> str:
    return f"{size / 1e9:.3g} GB"
