"""Input and output embeddings that share one matrix, and adapters that change one of the two."""

from __future__ import annotations

from typing import Any

from torch import nn
from transformers import PreTrainedModel


def is_tied(model: PreTrainedModel) -> bool:
    """Whether input and output embeddings are one parameter."""
    output = _weight(model.get_output_embeddings())
    return output is not None and output is _weight(model.get_input_embeddings())


def untie(model: PreTrainedModel) -> None:
    """Give the output embeddings a matrix of their own, equal to the shared one, in weights and configuration."""
    head: Any = _unwrapped(model.get_output_embeddings())
    head.weight = nn.Parameter(head.weight.detach().clone(), requires_grad=head.weight.requires_grad)
    for config in {id(c): c for c in (model.config, model.config.get_text_config())}.values():
        config.tie_word_embeddings = False
    model.all_tied_weights_keys = {}


def adapts_embeddings(model: PreTrainedModel) -> bool:
    """Whether adapters wrap the input or the output embeddings of a model inside a `PeftModel`."""
    return any(
        module is not None and module is not _unwrapped(module)
        for module in (model.get_input_embeddings(), model.get_output_embeddings())
    )


def _unwrapped(module: Any) -> Any:
    """The module that peft's wrappers are put around."""
    while (inner := getattr(module, "base_layer", None) or getattr(module, "original_module", None)) is not None:
        module = inner
    return module


def _weight(module: Any) -> nn.Parameter | None:
    return getattr(_unwrapped(module), "weight", None) if module is not None else None
