"""LoRA and QLoRA through peft and bitsandbytes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import PreTrainedModel, TrainingArguments

from alignment.modeling.tying import adapts_embeddings, is_tied, untie

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel

    from alignment.recipe import ModelArguments


def lora_config(model: ModelArguments, *, scores: bool = False) -> PeftConfig | None:
    """The adapters that the recipe asks for, or `None`; those of a reward model (`scores`) bring its new head."""
    if not model.use_peft:
        return None
    from peft import LoraConfig

    return LoraConfig(
        r=model.lora_r,
        lora_alpha=model.lora_alpha,
        lora_dropout=model.lora_dropout,
        target_modules=_names(model.lora_target_modules),
        target_parameters=_names(model.lora_target_parameters),
        modules_to_save=_names(model.lora_modules_to_save),
        use_rslora=model.use_rslora,
        use_dora=model.use_dora,
        bias="none",
        task_type="SEQ_CLS" if scores else model.lora_task_type,
    )


def quantization_config(model: ModelArguments) -> Any | None:
    """bitsandbytes settings for QLoRA (Dettmers et al. 2023, arXiv 2305.14314), or `None`."""
    if not (model.load_in_4bit or model.load_in_8bit):
        return None
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=model.load_in_4bit,
        load_in_8bit=model.load_in_8bit,
        bnb_4bit_quant_type=model.bnb_4bit_quant_type,
        bnb_4bit_use_double_quant=model.use_bnb_nested_quant,
        bnb_4bit_compute_dtype=torch.bfloat16,
        bnb_4bit_quant_storage=model.bnb_4bit_quant_storage,
    )


def inside_adapters(model: Any) -> Any:
    """The transformers model that peft wraps; `model` itself if it is not wrapped."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def wrap_with_peft(model: PreTrainedModel, config: PeftConfig, args: TrainingArguments) -> PreTrainedModel:
    """`model` with adapters to train and everything else frozen."""
    from peft import get_peft_model, prepare_model_for_kbit_training

    if getattr(model, "is_quantized", False):
        # Which layers are checkpointed is the Trainer's business, not peft's.
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    if args.gradient_checkpointing:
        # Checkpointed blocks need an input that requires a gradient; with frozen embeddings none does.
        model.enable_input_require_grads()
    return get_peft_model(model, config)


def adapter_numbers(model: nn.Module) -> int:
    """Numbers that the adapters of a decoder layer keep for one token, beside what the layer itself keeps.

    A copy of the input of each adapted map, and its output before the adapter's is added to it; a fifth more for the
    narrow ones between the adapter's matrices and for what is cast. 0 without adapters.
    """
    policy: Any = model
    adapted = [module for module in policy.modules() if hasattr(module, "lora_A") and hasattr(module, "base_layer")]
    if not adapted:
        return 0
    layers = policy.get_base_model().config.get_text_config().num_hidden_layers
    return math.ceil(1.2 * sum(module.in_features + module.out_features for module in adapted) / layers)


def with_adapter(adapter: Path, base: PreTrainedModel) -> PeftModel:
    """`base` with the saved adapter around its layers.

    Where the adapter changes one of two tied embeddings, they are untied first: merged into the shared matrix, the
    change would act on both.
    """
    from peft import PeftModel

    model = PeftModel.from_pretrained(base, str(adapter))
    if adapts_embeddings(model.get_base_model()) and is_tied(model.get_base_model()):
        untie(model.get_base_model())
    return model


def _names(value: tuple[str, ...] | str | None) -> list[str] | str | None:
    """peft takes lists, and saves what it was given as JSON; one word is the name of a module, not a pattern."""
    if isinstance(value, str) and value.isidentifier():
        return [value]
    return list(value) if isinstance(value, tuple) else value
