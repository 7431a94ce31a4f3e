"""A model that a laptop trains in seconds, of the recipe's architecture."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PretrainedConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from alignment.data import resolve_chat_template
from alignment.hub.bundled import PREFIX, is_bundled, model_key
from alignment.modeling.at_hand import at_hand
from alignment.recipe import ModelArguments
from alignment.rehearsal.families import FALLBACK, FAMILIES, KNOWN, Family

LAYERS, HIDDEN, HEADS, KEY_VALUE_HEADS, HEAD_DIM, FEED_FORWARD = 2, 64, 4, 2, 16, 128
VOCABULARY = 640
"""Entries of a tokenizer that is trained for the rehearsal: bytes, special tokens and a few words."""


def build_miniature(model: ModelArguments, texts: Iterable[str], folder: Path) -> list[str]:
    """Write a small model of random weights and its tokenizer to `folder`.

    Both are shrunk from the model's own files when those are on this machine, else made in the shape of the
    model's family.

    Args:
        model: what the recipe says of the model.
        texts: what a tokenizer is trained on if there is none.

    Returns:
        What was done, in sentences.
    """
    name, tokenizer_name = model.model_name_or_path, model.tokenizer_name_or_path or model.model_name_or_path
    listed = f"{PREFIX}{model_key(name)}" if is_bundled(name) else name
    family = FAMILIES[KNOWN.get(listed, FALLBACK)]
    known = listed in KNOWN
    tokenizer = at_hand(AutoTokenizer, tokenizer_name, model)
    facts = [f"tokenizer of {tokenizer_name}"]
    if tokenizer is None:
        tokenizer = train_tokenizer(family, texts)
        facts = [f"tokenizer trained on the rows with the special tokens of {family.name}, because it is not here"]
    if not tokenizer.chat_template:
        tokenizer.chat_template = resolve_chat_template(family.template)
    config = at_hand(AutoConfig, name, model)
    if config is None:
        config = family.make_config()
        facts.append(
            f"architecture {family.config} of the family {family.name}, because {name} is not here"
            if known
            else f"architecture {family.config}: {name} is neither here nor in the table of known models, so a Llama "
            "stands in for it and the rehearsal says nothing about its own architecture"
        )
    else:
        facts.append(f"architecture {type(config).__name__} of {name}")
    torch.manual_seed(0)
    small = shrink(config, tokenizer)
    policy = AutoModelForCausalLM.from_config(small, dtype=torch.float32)
    policy.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    policy.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    size = sum(parameter.numel() for parameter in policy.parameters())
    facts.append(f"{LAYERS} layers, width {HIDDEN}, {size:,} random weights")
    return facts


def shrink(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> PretrainedConfig:
    """`config` with few and narrow layers: everything else that makes the architecture stays."""
    text = config.get_text_config()
    grouped = getattr(text, "num_key_value_heads", HEADS) != text.num_attention_heads
    small = {
        "num_hidden_layers": LAYERS,
        "hidden_size": HIDDEN,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KEY_VALUE_HEADS if grouped else HEADS,
        "head_dim": HEAD_DIM,
        "intermediate_size": FEED_FORWARD,
        "query_pre_attn_scalar": HEAD_DIM,
        "max_window_layers": LAYERS,
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    settings = text.to_dict()
    changes = {key: value for key, value in small.items() if key in settings}
    if kinds := settings.get("layer_types"):
        distinct = list(dict.fromkeys(kinds))
        changes["layer_types"] = (distinct * LAYERS)[:LAYERS]
    for key in ("quantization_config", "auto_map", "dtype"):
        settings.pop(key, None)
    return type(text).from_dict({**settings, **changes})


def train_tokenizer(family: Family, texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE over `texts`, with the special tokens of `family`."""
    special = list(dict.fromkeys((family.pad, family.eos, family.bos, *family.turns)))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=family.bos,
        eos_token=family.eos,
        pad_token=family.pad,
        extra_special_tokens=list(family.turns),
    )
