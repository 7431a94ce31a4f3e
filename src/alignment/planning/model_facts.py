"""A model counted without its weights: built on PyTorch's meta device, adapters included."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig

from alignment.errors import Fault, SetupError
from alignment.hub.bundled import is_bundled
from alignment.modeling.adapter_targets import check_targets
from alignment.modeling.at_hand import at_hand, bundled_folder
from alignment.modeling.load import load_configuration
from alignment.modeling.peft import adapter_numbers, lora_config
from alignment.planning.known_models import known_model
from alignment.recipe import ModelArguments


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What a plan asks of a model."""

    config: PretrainedConfig
    source: str
    """Where the configuration came from, as a sentence part."""
    parameters: int
    """Weights of the model without adapters; tied ones once."""
    trainable: int
    """Weights that are trained."""
    frozen_bytes: float
    """Bytes of the weights that are not trained, as they are held on a device."""
    largest_linear: int
    """Weights of the largest linear layer inside the blocks."""
    largest: int
    """Weights of the largest trained tensor."""
    adapter_numbers: int
    """Numbers that the adapters of a layer keep for one token."""


def model_facts(model: ModelArguments) -> ModelFacts:
    """Count what the recipe's model has, and what of it is trained.

    Raises:
        SetupError: its configuration is not on this machine and not known either, or adapters are put on modules that
            it does not have.
    """
    config, source = configuration_at_hand(model)
    base = on_meta(config, trust_remote_code=model.trust_remote_code)
    parameters = sum(parameter.numel() for parameter in base.parameters())
    linear = [module.weight.numel() for module in quantizable(base)]
    adapters = lora_config(model)
    check_targets(base, adapters)
    policy: Any = base
    if adapters is not None:
        from peft import get_peft_model

        policy = get_peft_model(base, adapters)
    trained = [parameter.numel() for parameter in policy.parameters() if parameter.requires_grad]
    frozen = sum(parameter.numel() for parameter in policy.parameters() if not parameter.requires_grad)
    return ModelFacts(
        config=config,
        source=source,
        parameters=parameters,
        trainable=sum(trained),
        frozen_bytes=frozen_bytes(model, frozen=frozen, linear=sum(linear)),
        largest_linear=max(linear, default=0),
        largest=max(trained),
        adapter_numbers=adapter_numbers(policy),
    )


def configuration_at_hand(model: ModelArguments) -> tuple[PretrainedConfig, str]:
    """The model's configuration, and where it came from; nothing is downloaded.

    Raises:
        SetupError: nobody here knows it.
    """
    name = model.model_name_or_path
    if Path(name).is_dir() or (is_bundled(name) and bundled_folder(name).is_dir()):
        return load_configuration(model), "its own config.json"
    found = at_hand(AutoConfig, name, model)
    if found is not None:
        return found, "its config.json in the Hub's cache"
    known = known_model(name)
    if known is None:
        remedy = f"fetch that one file: `hf download {name} config.json`, or everything: `make data`"
        rule = "is neither on this machine nor among the models whose sizes are known"
        raise SetupError(Fault(key="model_name_or_path", value=name, rule=rule, remedy=remedy))
    return known.make_config(), "the sizes known of this model, as its config.json is not here"


def on_meta(config: PretrainedConfig, *, trust_remote_code: bool = False) -> nn.Module:
    """The model of `config` without storage."""
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code)


def quantizable(model: nn.Module) -> list[nn.Linear]:
    """The linear layers that bitsandbytes quantizes: all but the output head."""
    head = model.get_output_embeddings()  # type: ignore[operator]
    return [module for module in model.modules() if isinstance(module, nn.Linear) and module is not head]


def frozen_bytes(model: ModelArguments, *, frozen: int, linear: int) -> float:
    """Bytes of `frozen` weights, of which `linear` stand in layers that can be quantized.

    4-bit weights come with a scale for every 64 of them: in fp32, or (`use_bnb_nested_quant`) in 8 bits with a second
    scale for every 256 (arXiv 2305.14314, sec. 3). 8-bit ones have a scale a row, which is next to nothing. peft turns
    the rest to fp32.
    """
    if model.load_in_4bit:
        scale = (1 + 4 / 256) / 64 if model.use_bnb_nested_quant else 4 / 64
        return (0.5 + scale) * linear + 4 * (frozen - linear)
    if model.load_in_8bit:
        return linear + 4 * (frozen - linear)
    return itemsize_of(model) * frozen


def itemsize_of(model: ModelArguments) -> int:
    """Bytes of one weight as the recipe's `dtype` holds it."""
    return 4 if model.dtype in (None, "float32") else 2
