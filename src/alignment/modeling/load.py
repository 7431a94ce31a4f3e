"""The policy and its tokenizer, as the recipe asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from alignment.data.marks import begin_with_bos
from alignment.errors import Fault, SetupError
from alignment.hub.errors import TransportError, fault_of
from alignment.modeling.embedded import is_embedded, resolve_embedded
from alignment.modeling.peft import quantization_config

if TYPE_CHECKING:
    from alignment.recipe import ModelArguments


def load_tokenizer(model: ModelArguments, *, chat_template: str | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer with the recipe's chat template and a pad token.

    Args:
        model: what the recipe says of the model.
        chat_template: Jinja source that replaces the tokenizer's own.

    Raises:
        SetupError: the tokenizer cannot be had, or it has no chat template and the recipe gives none.
    """
    name = model.tokenizer_name_or_path or model.model_name_or_path
    with _explained("tokenizer", name):
        tokenizer = AutoTokenizer.from_pretrained(
            _location(name), revision=model.model_revision, trust_remote_code=model.trust_remote_code
        )
    if chat_template is not None:
        tokenizer.chat_template = chat_template
    if not tokenizer.chat_template:
        raise SetupError(
            Fault(
                key="chat_template",
                rule=f"is needed, because the tokenizer of {name} has none",
                remedy="name a shipped one (gemma2, llama3, mistral, zephyr, chatml), a file, or inline Jinja",
            )
        )
    tokenizer.chat_template = begin_with_bos(tokenizer)
    if tokenizer.pad_token_id is None:
        # Padding is always masked explicitly, so sharing the id with eos is safe.
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_policy(model: ModelArguments) -> PreTrainedModel:
    """The causal language model to train, or to generate with.

    Weights are fp32 unless the recipe names another dtype: at SimPO's learning rates an update is smaller
    than a bf16 rounding step, so weights that exist in bf16 alone would not move.

    Raises:
        SetupError: the model cannot be had, or the attention asked for would change its mathematics.
    """
    name = model.model_name_or_path
    location = _location(name)
    common = {"revision": model.model_revision, "trust_remote_code": model.trust_remote_code}
    with _explained("model", name):
        config = AutoConfig.from_pretrained(location, **common)
    attention = attention_implementation(config, model.attn_implementation)
    with _explained("model", name):
        return AutoModelForCausalLM.from_pretrained(
            location,
            config=config,
            dtype=model.dtype if model.dtype in (None, "auto") else getattr(torch, model.dtype),
            attn_implementation=attention,
            quantization_config=quantization_config(model),
            **common,
        )


def as_saved(model: ModelArguments, location: str) -> ModelArguments:
    """`model` after its run was saved to `location`: a whole model with its own tokenizer, whatever it came from."""
    return replace(
        model,
        model_name_or_path=location,
        tokenizer_name_or_path=None,
        model_revision="main",
        load_in_4bit=False,
        load_in_8bit=False,
    )


def attention_implementation(config: Any, requested: str | None) -> str | None:
    """What `from_pretrained` is told: the request, or eager where a soft-cap needs it.

    PyTorch's fused attention has no soft-cap; some releases of transformers drop it there without a word
    and the gradients of Gemma-2 are then off by some percent.

    Raises:
        SetupError: the request would drop the soft-cap.
    """
    soft_cap = getattr(config.get_text_config(), "attn_logit_softcapping", None)
    if soft_cap is None:
        return requested
    if requested == "sdpa":
        raise SetupError(
            Fault(
                key="attn_implementation",
                value="sdpa",
                rule=f"has no soft-cap, and {config.model_type} caps its attention logits at {soft_cap}",
                remedy="use eager, flash_attention_2 or flex_attention",
            )
        )
    return requested or "eager"


def _location(name: str) -> str:
    return str(resolve_embedded(name)) if is_embedded(name) else name


@contextmanager
def _explained(what: str, name: str) -> Iterator[None]:
    """Turn "not there" and "cannot be reached" into one message; anything else stays a bug report."""
    try:
        yield
    except (OSError, ValueError, ImportError, TransportError) as error:
        unreadable = Fault(
            key="model_name_or_path",
            value=name,
            rule=f"gives no {what}: {_first_line(error)}",
            remedy="give a folder with a saved model, or a Hub id that this machine can reach or has cached "
            "(`make data` downloads it)",
        )
        raise SetupError(fault_of(error, name, key="model_name_or_path") or unreadable) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
