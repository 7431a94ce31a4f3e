"""Recompute only as much as memory demands: how many layers to checkpoint, and how many tokens fit.

A layer either keeps what its backward pass needs (fast) or keeps only its input and computes the rest again. The
estimate below is deliberately simple; it is made before anything is allocated, errs on the large side, and every
quantity can be stated in the recipe instead (`tokens_per_device`, `gradient_checkpointing: true | false`).

For Gemma-2-9B in bf16 with a fused attention kernel it says 12.0 MiB a token with all activations kept, 0.29 MiB with
every layer checkpointed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from alignment.modeling.flops import Geometry, PairLengths

CPU_TOKENS = 2048
"""Tokens a packed micro-batch holds on a CPU, where larger ones gain nothing."""
ENOUGH_TOKENS = 16384
"""Tokens with which a GPU's matrices are as large as they need to be."""
PREFERRED_TOKENS = 8192
"""Tokens for which `auto` would rather checkpoint a layer than do with fewer."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a micro-batch may hold."""

    tokens: int
    """Tokens of a packed row."""
    checkpointed_layers: int
    """Layers, from the first, that are computed again in the backward pass."""


def activation_bytes(geometry: Geometry, itemsize: int, *, fused: bool = False, scores: int = 0) -> int:
    """Bytes that one layer keeps for one token: attention, gated MLP, and four norms computed in fp32.

    Args:
        fused: norms and activations are single kernels (`modeling.compiled_elementwise`) and keep no fp32 copies.
        scores: what the attention backend keeps beside (`score_bytes`).
    """
    queries, keys = geometry.heads * geometry.head_dim, geometry.kv_heads * geometry.head_dim
    attention = 2 * queries + 6 * keys  # queries and output; keys and values, both once more for the shared prompts
    # Unfused, a norm keeps its input and its normalized input in fp32, and an activation its output.
    norms = 4 * (2 * itemsize if fused else 2 * 4 + itemsize) * geometry.hidden
    return itemsize * (attention + (3 if fused else 4) * geometry.intermediate) + norms + scores


def score_bytes(backend: str, geometry: Geometry, itemsize: int, pairs: Iterable[PairLengths]) -> int:
    """Bytes that a layer's attention keeps for one token beside queries, keys, values and output.

    `segments` keeps every score as its soft-cap (in the model's precision), its softmax (in fp32 and, where that is
    another, in the model's precision) and its mask, and its queries in another order. FlexAttention copies keys and
    values to the query heads where these are no power-of-two multiple. FlashAttention keeps fp32 normalizers only.

    Args:
        pairs: of the run; the pair whose tokens see most keys on average decides.
    """
    queries, keys = geometry.heads * geometry.head_dim, geometry.kv_heads * geometry.head_dim
    normalizers = 4 * geometry.heads
    if backend == "segments":
        scored = max(
            ((p + first) ** 2 + sum(other * (p + other) for other in others)) / (p + first + sum(others))
            for p, first, *others in pairs
        )
        each = itemsize + 4 + (itemsize if itemsize < 4 else 0)
        return math.ceil(scored * (geometry.heads * each + 1)) + itemsize * queries
    if backend.startswith("flex"):
        groups = geometry.heads // geometry.kv_heads
        return normalizers + itemsize * (max(0, 2 * queries - 4 * keys) if groups & (groups - 1) else 0)
    return normalizers


def input_bytes(geometry: Geometry, itemsize: int) -> int:
    """Bytes that one checkpointed layer keeps for one token: its input."""
    return itemsize * geometry.hidden


def tokens_that_fit(
    geometry: Geometry,
    itemsize: int,
    memory: float,
    *,
    checkpointed_layers: int,
    fused: bool = False,
    scores: int = 0,
) -> int:
    """Tokens whose activations fit into `memory` bytes."""
    return int(memory / bytes_per_token(geometry, itemsize, checkpointed_layers, fused=fused, scores=scores))


def layers_to_checkpoint(
    geometry: Geometry, itemsize: int, memory: float, *, tokens: int, fused: bool = False, scores: int = 0
) -> int:
    """The fewest checkpointed layers with which `tokens` fit into `memory` bytes; all of them when none is enough."""
    for layers in range(geometry.layers + 1):
        if tokens * bytes_per_token(geometry, itemsize, layers, fused=fused, scores=scores) <= memory:
            return layers
    return geometry.layers


def plan_memory(
    geometry: Geometry,
    itemsize: int,
    memory: float | None,
    *,
    checkpointing: bool | str,
    longest_pair: int,
    tokens: int | None = None,
    fused: bool = False,
    scores: int = 0,
) -> Budget:
    """Tokens per device and layers to checkpoint.

    Args:
        memory: bytes for activations; `None` on a CPU, whose memory is not rationed.
        checkpointing: the recipe's `gradient_checkpointing`: `True` all layers, `False` none, "auto" as few as do.
        longest_pair: tokens of the longest pair; a budget below it would be exceeded anyway.
        tokens: the recipe's `tokens_per_device`, when stated.
        fused, scores: as in `activation_bytes`.
    """
    fixed = None if isinstance(checkpointing, str) else checkpointing * geometry.layers
    if memory is None:
        return Budget(tokens=tokens or CPU_TOKENS, checkpointed_layers=fixed or 0)
    if fixed is None:
        wanted = tokens or max(PREFERRED_TOKENS, longest_pair)
        fixed = layers_to_checkpoint(geometry, itemsize, memory, tokens=wanted, fused=fused, scores=scores)
    if tokens is None:
        fitting = tokens_that_fit(geometry, itemsize, memory, checkpointed_layers=fixed, fused=fused, scores=scores)
        tokens = max(longest_pair, min(ENOUGH_TOKENS, fitting))
    return Budget(tokens=tokens, checkpointed_layers=fixed)


def checkpoint_first_layers(model: Any, count: int) -> None:
    """Checkpoint the first `count` decoder layers of a transformers model or its peft wrapper, and no other.

    The first rather than the last: their activations would be held longest.
    """
    from alignment.modeling.peft import inside_adapters

    inner = inside_adapters(model)
    layers = inner.base_model.layers
    if count == 0:
        return
    enable = getattr(inner, "activation_checkpointing_enable", None) or inner.gradient_checkpointing_enable
    enable({"use_reentrant": False})
    for layer in layers[count:]:
        layer.gradient_checkpointing = False


def bytes_per_token(
    geometry: Geometry, itemsize: int, checkpointed_layers: int, *, fused: bool = False, scores: int = 0
) -> int:
    """Bytes that all layers keep for one token at the fullest moment."""
    full = activation_bytes(geometry, itemsize, fused=fused, scores=scores)
    kept = input_bytes(geometry, itemsize)
    # While a checkpointed layer is computed again, it holds what an ordinary layer holds.
    again = full if checkpointed_layers else 0
    return (geometry.layers - checkpointed_layers) * full + checkpointed_layers * kept + again
