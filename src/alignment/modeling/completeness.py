"""Is a loaded model the one that its files hold? Nothing made up, nothing left over, nothing of another shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import PretrainedConfig, PreTrainedModel

from alignment.errors import Fault
from alignment.modeling.auto_class import auto_class, is_reward_model
from alignment.modeling.folder_check import CONFIG, listed, stored_tensors

_REMEDY = "correct config.json, or save or download the model again"


def incomplete_faults(model: PreTrainedModel, found: Mapping[str, Any], name: str) -> Iterator[Fault]:
    """What loading would otherwise only warn of.

    Args:
        found: the loading info of `from_pretrained`: `missing_keys`, `unexpected_keys`.
        name: folder or Hub id.
    """
    missing, unexpected = set(found["missing_keys"]), set(found["unexpected_keys"])
    if missing:
        yield Fault(
            key=name,
            rule=f"lacks {len(missing)} tensors that its {CONFIG} asks for, which would be trained from random "
            f"numbers: {listed(missing)}",
            remedy=_REMEDY,
        )
    if unexpected:
        yield Fault(
            key=name,
            rule=f"holds {len(unexpected)} tensors that its {CONFIG} knows nothing of, and that would be lost: "
            f"{listed(unexpected)}",
            remedy=_REMEDY,
        )
    if not missing and not unexpected:
        yield from _contradictions(model, name)


def _contradictions(model: PreTrainedModel, name: str) -> Iterator[Fault]:
    """Where what was loaded is not what the configuration says."""
    head, config = model.get_output_embeddings(), model.config.get_text_config()
    tied = head is None or head.weight is model.get_input_embeddings().weight
    if config.tie_word_embeddings and not tied:
        yield Fault(
            key=name,
            rule="ties output to input embeddings (tie_word_embeddings), but its files hold two different matrices",
            remedy=f"say tie_word_embeddings: false in {CONFIG} if both are meant",
        )
    stated = getattr(model.config, "quantization_config", None)
    if stated and not getattr(model, "is_quantized", False):
        method = stated.get("quant_method") if isinstance(stated, dict) else type(stated).__name__
        yield Fault(
            key=f"quantization_config of {name}",
            value=method,
            rule="was not applied by transformers, which does not know it or cannot run it here",
            remedy=f"remove it from {CONFIG} if the weights are not quantized",
        )


def shape_faults(folder: Path, config: PretrainedConfig) -> Iterator[Fault]:
    """Tensors whose shape is not what `config` asks for; nothing is loaded."""
    with torch.device("meta"):
        scores = is_reward_model(config.architectures)
        model = auto_class(scores=scores).from_config(config, attn_implementation="eager")
    wanted = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    stored = stored_tensors(folder)
    wrong = {name for name in stored.keys() & wanted.keys() if stored[name] != wanted[name]}
    if wrong:
        name = min(wrong)
        yield Fault(
            key=str(folder),
            rule=f"holds {len(wrong)} tensors of another shape than its {CONFIG} asks for: "
            f"{listed(wrong)} ({name} is {stored[name]}, asked for is {wanted[name]})",
            remedy=_REMEDY,
        )
