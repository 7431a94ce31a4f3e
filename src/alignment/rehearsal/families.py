"""Model families that a rehearsal can build without the model's own files, and the models known to belong to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import transformers
from transformers import PretrainedConfig


@dataclass(frozen=True, kw_only=True)
class Family:
    """An architecture and the special tokens of its chat format."""

    name: str
    config: str
    """Class of its configuration in transformers."""
    template: str
    """Shipped chat template for recipes that rely on the tokenizer's own."""
    bos: str
    eos: str
    pad: str
    turns: tuple[str, ...] = ()
    """Tokens that mark the turns of a conversation."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What makes the family's configuration its own."""

    def make_config(self) -> PretrainedConfig:
        return getattr(transformers, self.config)(**self.settings)


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            name="gemma2",
            config="Gemma2Config",
            template="gemma2",
            bos="<bos>",
            eos="<eos>",
            pad="<pad>",
            turns=("<start_of_turn>", "<end_of_turn>"),
        ),
        Family(
            name="llama3",
            config="LlamaConfig",
            template="llama3",
            bos="<|begin_of_text|>",
            eos="<|end_of_text|>",
            pad="<|finetune_right_pad_id|>",
            turns=("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
            settings={"num_key_value_heads": 8},
        ),
        Family(
            name="mistral",
            config="MistralConfig",
            template="mistral",
            bos="<s>",
            eos="</s>",
            pad="<unk>",
            settings={"sliding_window": None},
        ),
        Family(
            name="zephyr",
            config="MistralConfig",
            template="zephyr",
            bos="<s>",
            eos="</s>",
            pad="<unk>",
            turns=("<|system|>", "<|user|>", "<|assistant|>"),
        ),
        Family(
            name="smollm2",
            config="LlamaConfig",
            template="chatml",
            bos="<|im_start|>",
            eos="<|im_end|>",
            pad="<|endoftext|>",
            settings={
                "hidden_size": 576,
                "num_attention_heads": 9,
                "num_key_value_heads": 3,
                "tie_word_embeddings": True,
            },
        ),
        Family(
            name="qwen2",
            config="Qwen2Config",
            template="chatml",
            bos="<|im_start|>",
            eos="<|im_end|>",
            pad="<|endoftext|>",
            settings={"num_key_value_heads": 4},
        ),
    )
}

KNOWN: dict[str, str] = {
    "google/gemma-2-2b-it": "gemma2",
    "google/gemma-2-9b-it": "gemma2",
    "google/gemma-2-27b-it": "gemma2",
    "meta-llama/Meta-Llama-3-8B": "llama3",
    "meta-llama/Meta-Llama-3-8B-Instruct": "llama3",
    "meta-llama/Llama-3.1-8B-Instruct": "llama3",
    "princeton-nlp/Llama-3-Base-8B-SFT": "llama3",
    "mistralai/Mistral-7B-v0.1": "mistral",
    "mistralai/Mistral-7B-Instruct-v0.2": "mistral",
    "alignment-handbook/zephyr-7b-sft-full": "zephyr",
    "bundled:SmolLM2-135M-Instruct": "smollm2",
    "HuggingFaceTB/SmolLM2-135M-Instruct": "smollm2",
    "HuggingFaceTB/SmolLM2-1.7B-Instruct": "smollm2",
    "Qwen/Qwen2.5-7B-Instruct": "qwen2",
}
"""Models by id. A model that is neither cached nor here is rehearsed as a Llama, and the rehearsal says so."""

FALLBACK = "llama3"
