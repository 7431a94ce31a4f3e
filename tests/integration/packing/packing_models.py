"""One tiny model for every architecture that packing is proven for, and pairs of random tokens."""

from __future__ import annotations

from typing import Any

import torch
from tiny import gemma2_config
from torch import Tensor
from torch.overrides import TorchFunctionMode
from transformers import (
    AutoModelForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)

from alignment.data.packed_batches import PackedPreferenceCollator
from alignment.data.padded_batches import PaddedPreferenceCollator

VOCABULARY = 307
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 256,
    "initializer_range": 0.15,
}
GEMMA = {"head_dim": 16, "query_pre_attn_scalar": 12}

CONFIGS = {
    "gemma2": gemma2_config(**SIZES, **GEMMA),
    # Scores beyond the soft-cap, and a window that cuts into completions: both must be computed, not just carried.
    "gemma2, narrow": gemma2_config(**SIZES, **GEMMA, sliding_window=5, attn_logit_softcapping=2.0),
    "gemma3": Gemma3TextConfig(**SIZES, **GEMMA, sliding_window=6, layer_types=["sliding_attention", "full_attention"]),
    "llama": LlamaConfig(**SIZES),
    "smollm": LlamaConfig(
        **SIZES | {"num_attention_heads": 9, "num_key_value_heads": 3, "hidden_size": 72}, tie_word_embeddings=True
    ),
    "mistral": MistralConfig(**SIZES, sliding_window=7),
    "qwen2": Qwen2Config(**SIZES),
    "qwen3": Qwen3Config(**SIZES, head_dim=16),
}


def build(name: str, *, dtype: torch.dtype = torch.float32, seed: int = 0) -> PreTrainedModel:
    """A model of random weights, eager attention, in training mode without dropout."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(CONFIGS[name], attn_implementation="eager").to(dtype)
    return model.train()


def random_pairs(count: int, *, seed: int = 0, longest: int = 20) -> list[dict[str, Any]]:
    """Pairs of random lengths; the first has one token of each, the second a one-token completion."""
    generator = torch.Generator().manual_seed(seed)

    def tokens(length: int) -> list[int]:
        return torch.randint(3, VOCABULARY, (length,), generator=generator).tolist()

    lengths = torch.randint(1, longest + 1, (count, 3), generator=generator)
    lengths[0] = 1
    lengths[1:2, 1] = 1
    return [
        {"prompt_ids": tokens(p), "chosen_ids": tokens(c), "rejected_ids": tokens(r), "weight": 1.0, "index": i}
        for i, (p, c, r) in enumerate(lengths.tolist())
    ]


def padded(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    return PaddedPreferenceCollator(0)(pairs)


def packed(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    return PackedPreferenceCollator()(pairs)


def gradients(model: torch.nn.Module, loss: Tensor) -> dict[str, Tensor]:
    """Gradient of every trainable parameter; the model's own are cleared."""
    model.zero_grad(set_to_none=True)
    loss.backward()
    grads = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return grads


def distance(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """The largest relative error, in norm, of any tensor; both sides hold the same names."""
    assert found.keys() == expected.keys()
    floor = 1e-6 * max(tensor.norm().item() for tensor in expected.values())
    return max(
        ((found[name] - expected[name]).norm() / expected[name].norm().clamp_min(floor)).item() for name in expected
    )


class KeepDouble(TorchFunctionMode):
    """fp64 all the way: transformers computes softmax, norms and angles in fp32, which hides what is exact."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if args and isinstance(args[0], Tensor) and args[0].dtype == torch.float64:
            if function is Tensor.float:
                return args[0]
            args = tuple(torch.float64 if a is torch.float32 else a for a in args)
            if kwargs.get("dtype") is torch.float32:
                kwargs["dtype"] = torch.float64
        if function in (Tensor.matmul, Tensor.__matmul__, torch.matmul):
            args = tuple(a.double() if any(b.dtype == torch.float64 for b in args) else a for a in args)
        return function(*args, **kwargs)
