"""What of a model is on this machine already; nothing is downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignment.files import cache_root
from alignment.hub.bundled import bundled_model, is_bundled, model_key

if TYPE_CHECKING:
    from alignment.recipe import ModelArguments


def at_hand(loader: Any, name: str, model: ModelArguments) -> Any | None:
    """The tokenizer or configuration of `name` if its files are on this machine.

    Args:
        loader: `AutoTokenizer` or `AutoConfig`.
        name: Hub id, local folder, or `bundled:<model>`.
        model: what the recipe says of the model.
    """
    location = bundled_folder(name) if is_bundled(name) else Path(name)
    if is_bundled(name) and not location.is_dir():
        return None
    try:
        return loader.from_pretrained(
            str(location),
            revision=model.model_revision,
            trust_remote_code=model.trust_remote_code,
            local_files_only=True,
        )
    except (OSError, ValueError):
        return None


def bundled_folder(name: str) -> Path:
    """Where a bundled model lies once it has been downloaded."""
    return cache_root() / "models" / f"{model_key(name)}-{bundled_model(name).sha256[:12]}"
