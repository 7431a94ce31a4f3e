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
        Family(
            name="qwen3",
            config="Qwen3Config",
            template="chatml",
            bos="<|im_start|>",
            eos="<|im_end|>",
            pad="<|endoftext|>",
            settings={"num_key_value_heads": 8},
        ),
        Family(
            name="smollm3",
            config="SmolLM3Config",
            template="chatml",
            bos="<|begin_of_text|>",
            eos="<|im_end|>",
            pad="<|finetune_right_pad_id|>",
            turns=("<|im_start|>",),
        ),
        Family(
            name="gemma",
            config="GemmaConfig",
            template="gemma2",
            bos="<bos>",
            eos="<eos>",
            pad="<pad>",
            turns=("<start_of_turn>", "<end_of_turn>"),
        ),
        Family(
            name="gemma3",
            config="Gemma3TextConfig",
            template="gemma2",
            bos="<bos>",
            eos="<eos>",
            pad="<pad>",
            turns=("<start_of_turn>", "<end_of_turn>"),
        ),
        Family(
            name="mixtral",
            config="MixtralConfig",
            template="zephyr",
            bos="<s>",
            eos="</s>",
            pad="<unk>",
            turns=("<|system|>", "<|user|>", "<|assistant|>"),
            settings={"num_local_experts": 4, "sliding_window": None},
        ),
        Family(
            name="starcoder2",
            config="Starcoder2Config",
            template="zephyr",
            bos="<s>",
            eos="<|endoftext|>",
            pad="<pad>",
            turns=("<|system|>", "<|user|>", "<|assistant|>"),
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
    "Qwen/Qwen3-8B": "qwen3",
    "meta-llama/Llama-3.2-1B-Instruct": "llama3",
    "HuggingFaceTB/SmolLM-360M": "smollm2",
    "HuggingFaceTB/SmolLM2-360M": "smollm2",
    "HuggingFaceTB/SmolLM2-1.7B": "smollm2",
    "loubnabnl/smollm2-360M-sft": "smollm2",
    "loubnabnl/smollm2-1.7B-sft": "smollm2",
    "HuggingFaceTB/SmolLM3-3B": "smollm3",
    "HuggingFaceTB/SmolLM3-3B-Base": "smollm3",
    "HuggingFaceTB/SmolLM3-3B-checkpoints": "smollm3",
    "google/gemma-7b": "gemma",
    "HuggingFaceH4/zephyr-7b-gemma-sft-v0.1": "gemma",
    "google/gemma-3-1b-it": "gemma3",
    "google/gemma-3-4b-it": "gemma3",
    "alignment-handbook/mistral-7b-sft-constitutional-ai": "zephyr",
    "teknium/OpenHermes-2.5-Mistral-7B": "mistral",
    "mistral-community/Mixtral-8x22B-v0.1": "mixtral",
    "bigcode/starcoder2-15b": "starcoder2",
    "HuggingFaceH4/starchat2-15b-sft-v0.1": "starcoder2",
}
"""Models by id. A model that is neither cached nor here is rehearsed as a Llama, and the rehearsal says so."""

FALLBACK = "llama3"
