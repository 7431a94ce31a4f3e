"""Tiny scoring models of random weights, and conversations for them."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tiny import sentence
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForSequenceClassification, PreTrainedTokenizerFast

TEMPLATES = Path(__file__).parents[2] / "src/alignment/templates"
SPECIAL = ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
WEIGHTS = "model.safetensors"


def conversations(count: int, *, turns: int = 1, seed: int = 0) -> list[list[dict]]:
    """Conversations of very different lengths."""
    rng = random.Random(seed)
    roles = ("user", "assistant") * turns
    return [[{"role": role, "content": sentence(rng, rng.randint(1, 30))} for role in roles] for _ in range(count)]


def llama_tokenizer(*, adds_bos: bool = True) -> PreTrainedTokenizerFast:
    """Byte-level BPE with Llama-3's control tokens and template, without a pad token.

    It knows two newlines as one token, where no word follows them.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    corpus = [sentence(random.Random(seed), 12) for seed in range(100)] + ["assistant", "user"] * 20
    tokenizer.train_from_iterator(
        corpus + ["\n\n"] * 2000,
        trainers.BpeTrainer(
            vocab_size=360, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
        ),
    )
    if adds_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{SPECIAL[0]} $A", special_tokens=[(SPECIAL[0], 0)]
        )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=SPECIAL[0], eos_token=SPECIAL[3], extra_special_tokens=SPECIAL[1:3]
    )
    fast.chat_template = (TEMPLATES / "llama3.jinja").read_text()
    return fast


def llama_config(vocab_size: int, **changes: object) -> LlamaConfig:
    settings = {
        "vocab_size": vocab_size,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 512,
        "initializer_range": 0.2,
        "bos_token_id": 0,
        "eos_token_id": 3,
        "pad_token_id": None,
    }
    return LlamaConfig(**{**settings, **changes})


def save_reward_model(folder: Path, *, labels: int = 1, tokenizer=None, **changes: object) -> Path:
    """A Llama with a classification head, its tokenizer beside it."""
    tokenizer = tokenizer or llama_tokenizer()
    torch.manual_seed(0)
    LlamaForSequenceClassification(llama_config(len(tokenizer), num_labels=labels, **changes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def change_tensors(folder: Path, change) -> None:
    """Save again what `change` made of the tensors."""
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
