"""Tiny stand-ins of real things: models of random weights, a tokenizer trained on the spot, preference rows."""

from __future__ import annotations

import json
import random
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Gemma2Config, Gemma2ForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

WORDS = (
    "the a cat dog sun moon river stone light dark runs sleeps shines falls over under near far slowly quickly "
    "why how what when because and but never always small large warm cold blue red green answer question tree"
).split()
TEMPLATE = Path(__file__).parents[1] / "src/alignment/templates/gemma2.jinja"


def sentence(rng: random.Random, words: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(words)).capitalize() + "."


def preference_rows(count: int, *, seed: int = 0, longest: int = 24) -> list[dict]:
    """Rows as the released data sets have them: both sides hold the whole conversation."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        prompt = {"role": "user", "content": f"{sentence(rng, rng.randint(1, longest))} {number}"}
        sides = {
            side: [prompt, {"role": "assistant", "content": f"{sentence(rng, rng.randint(1, longest))} {side}"}]
            for side in ("chosen", "rejected")
        }
        rows.append({"prompt": prompt["content"], **sides})
    return rows


def write_jsonl(path: Path, rows: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def gemma_tokenizer(vocab_size: int = 400) -> PreTrainedTokenizerFast:
    """Byte-level BPE with Gemma-2's special tokens, ids and chat template."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    corpus = [sentence(random.Random(i), 12) for i in range(200)] + ["user\nmodel\n"] * 20
    tokenizer.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=vocab_size, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
        ),
    )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
        extra_special_tokens=["<start_of_turn>", "<end_of_turn>"],
    )
    fast.chat_template = TEMPLATE.read_text()
    return fast


def gemma2_config(vocab_size: int = 400, **changes: object) -> Gemma2Config:
    """Gemma-2's architecture in small: tied embeddings, both soft-caps, alternating sliding layers."""
    settings = {
        "vocab_size": vocab_size,
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "query_pre_attn_scalar": 16,
        "intermediate_size": 128,
        "max_position_embeddings": 512,
        "initializer_range": 0.1,
        "bos_token_id": 2,
        "eos_token_id": 1,
        "pad_token_id": 0,
    }
    return Gemma2Config(**{**settings, **changes})


def gemma2(vocab_size: int = 400, *, seed: int = 0, **changes: object) -> PreTrainedModel:
    torch.manual_seed(seed)
    return Gemma2ForCausalLM._from_config(gemma2_config(vocab_size, **changes), attn_implementation="eager")


def save_gemma2(folder: Path, **changes: object) -> Path:
    """A folder that `from_pretrained` loads: model of random weights, tokenizer, template."""
    tokenizer = gemma_tokenizer()
    gemma2(len(tokenizer), **changes).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
