"""A folder of adapters as a model that answers: its base, with the adapters merged into it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignment.errors import Fault, SetupError, sentence_of
from alignment.modeling.folder_check import ADAPTER, CONFIG

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from alignment.recipe import ModelArguments


def is_adapter(name: str) -> bool:
    """Whether a folder holds adapters and no whole model."""
    folder = Path(name)
    return (folder / ADAPTER).is_file() and not (folder / CONFIG).exists()


def has_tokenizer(name: str) -> bool:
    """Whether a tokenizer was saved with the adapters."""
    return (Path(name) / "tokenizer_config.json").is_file()


def on_base(model: ModelArguments) -> ModelArguments:
    """The base of the adapters that `model` names, with their tokenizer where they have one; other models as they are.

    Raises:
        SetupError: their configuration names no base.
    """
    name = model.model_name_or_path
    if not is_adapter(name):
        return model
    stated = _stated(Path(name) / ADAPTER)
    return replace(
        model,
        model_name_or_path=stated["base_model_name_or_path"],
        model_revision=stated.get("revision") or "main",
        tokenizer_name_or_path=name if has_tokenizer(name) else None,
    )


def load_answering(model: ModelArguments) -> PreTrainedModel:
    """`load_policy`, which takes a folder of adapters too.

    Raises:
        SetupError: as `load_policy`, or the adapters do not fit their base.
    """
    from alignment.modeling.load import load_policy
    from alignment.modeling.loading_errors import told
    from alignment.modeling.peft import with_adapter

    name = model.model_name_or_path
    policy = load_policy(on_base(model))
    if not is_adapter(name):
        return policy
    with told(name, file=f"{ADAPTER} or its weights"):
        return with_adapter(Path(name), policy).merge_and_unload()


def _stated(path: Path) -> dict[str, Any]:
    try:
        stated = json.loads(path.read_text("utf-8"))
        if isinstance(stated, dict) and isinstance(stated.get("base_model_name_or_path"), str):
            return stated
        rule = "names no base_model_name_or_path"
    except (OSError, ValueError) as error:
        rule = f"cannot be read: {sentence_of(error)}"
    raise SetupError(Fault(key=str(path), rule=rule, remedy="save the adapters again, or name a merged model"))
