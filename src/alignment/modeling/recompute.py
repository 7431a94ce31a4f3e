"""Recompute only as much as memory demands: how many layers to checkpoint, and how many tokens fit.

A layer either keeps what its backward pass needs (fast) or keeps only its input and computes the rest again. The
estimate below is deliberately simple; it is made before anything is allocated, errs on the large side, and every
quantity can be stated in the recipe instead (`tokens_per_device`, `gradient_checkpointing: true | false`).

For Gemma-2-9B in bf16 it says 12.0 MiB a token with all activations kept, 0.29 MiB with every layer checkpointed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..throughput import Geometry
from .head import BLOCK_BYTES

CPU_TOKENS = 2048
"""Tokens a packed micro-batch holds on a CPU, where larger ones gain nothing."""
ENOUGH_TOKENS = 16384
"""Tokens with which a GPU's matrices are as large as they need to be."""
PREFERRED_TOKENS = 8192
"""Tokens for which `auto` would rather checkpoint a layer than do with fewer."""
RESERVE = 0.08
"""Share of a GPU left to the CUDA context, communication buffers and fragmentation."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a micro-batch may hold."""

    tokens: int
    """Tokens of a packed row."""
    checkpointed_layers: int
    """Layers, from the first, that are computed again in the backward pass."""


def activation_bytes(geometry: Geometry, itemsize: int, *, fused: bool = False) -> int:
    """Bytes that one layer keeps for one token: attention, gated MLP, and four norms computed in fp32.

    Args:
        fused: norms and activations are single kernels (`alignment.modeling.fused`) and keep no fp32 copies.
    """
    queries, keys = geometry.heads * geometry.head_dim, geometry.kv_heads * geometry.head_dim
    attention = 2 * queries + 6 * keys  # queries and output; keys and values, both once more for the shared prompts
    # Unfused, a norm keeps its input and its normalised input in fp32, and an activation its output.
    norms = 4 * (2 * itemsize if fused else 2 * 4 + itemsize) * geometry.hidden
    return itemsize * (attention + (3 if fused else 4) * geometry.intermediate) + norms


def input_bytes(geometry: Geometry, itemsize: int) -> int:
    """Bytes that one checkpointed layer keeps for one token: its input."""
    return itemsize * geometry.hidden


def tokens_that_fit(
    geometry: Geometry, itemsize: int, memory: float, *, checkpointed_layers: int, fused: bool = False
) -> int:
    """Tokens whose activations fit into `memory` bytes."""
    return int(memory / bytes_per_token(geometry, itemsize, checkpointed_layers, fused=fused))


def layers_to_checkpoint(geometry: Geometry, itemsize: int, memory: float, *, tokens: int, fused: bool = False) -> int:
    """The fewest checkpointed layers with which `tokens` fit into `memory` bytes; all of them when none is enough."""
    for layers in range(geometry.layers + 1):
        if tokens * bytes_per_token(geometry, itemsize, layers, fused=fused) <= memory:
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
) -> Budget:
    """Tokens per device and layers to checkpoint.

    Args:
        memory: bytes for activations; `None` on a CPU, whose memory is not rationed.
        checkpointing: the recipe's `gradient_checkpointing`: `True` all layers, `False` none, "auto" as few as do.
        longest_pair: tokens of the longest pair; a budget below it would be exceeded anyway.
        tokens: the recipe's `tokens_per_device`, when stated.
        fused: as in `activation_bytes`.
    """
    fixed = None if isinstance(checkpointing, str) else checkpointing * geometry.layers
    if memory is None:
        return Budget(tokens=tokens or CPU_TOKENS, checkpointed_layers=fixed or 0)
    if fixed is None:
        wanted = tokens or max(PREFERRED_TOKENS, longest_pair)
        fixed = layers_to_checkpoint(geometry, itemsize, memory, tokens=wanted, fused=fused)
    if tokens is None:
        fitting = tokens_that_fit(geometry, itemsize, memory, checkpointed_layers=fixed, fused=fused)
        tokens = max(longest_pair, min(ENOUGH_TOKENS, fitting))
    return Budget(tokens=tokens, checkpointed_layers=fixed)


def activation_memory(model: nn.Module, geometry: Geometry, device: torch.device, *, shards: int) -> float | None:
    """Bytes of `device` left for activations once weights, gradients and AdamW's state are in place.

    Sixteen bytes a trained weight (bf16 weight and gradient, fp32 master and two moments; or fp32 throughout), the
    stored size of a frozen one, over the ranks that share them; a sharded model gathers a layer and the head again.

    Args:
        shards: ranks that hold a part of the model each (ZeRO-3, FSDP); 1 when every rank holds all of it.
    """
    if device.type != "cuda":
        return None
    trained = sum(_size(p) for p in model.parameters() if p.requires_grad)
    frozen = sum(_size(p) * p.element_size() for p in model.parameters() if not p.requires_grad)
    states = (16 * trained + frozen) / shards
    if shards > 1:
        states += 2 * 2 * (geometry.block_parameters // geometry.layers + geometry.head_parameters)
    total = torch.cuda.get_device_properties(device).total_memory
    return max(0.0, total * (1 - RESERVE) - states - 3 * BLOCK_BYTES["cuda"])


def checkpoint_first_layers(model: Any, count: int) -> None:
    """Checkpoint the first `count` decoder layers of a transformers model or its peft wrapper, and no other.

    The first rather than the last: their activations would be held longest.
    """
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    layers = inner.base_model.layers
    if count == 0:
        return
    enable = getattr(inner, "activation_checkpointing_enable", None) or inner.gradient_checkpointing_enable
    enable({"use_reentrant": False})
    for layer in layers[count:]:
        layer.gradient_checkpointing = False


def bytes_per_token(geometry: Geometry, itemsize: int, checkpointed_layers: int, *, fused: bool = False) -> int:
    """Bytes that all layers keep for one token at the fullest moment."""
    full, kept = activation_bytes(geometry, itemsize, fused=fused), input_bytes(geometry, itemsize)
    # While a checkpointed layer is computed again, it holds what an ordinary layer holds.
    again = full if checkpointed_layers else 0
    return (geometry.layers - checkpointed_layers) * full + checkpointed_layers * kept + again


def _size(parameter: nn.Parameter) -> int:
    """Weights of a parameter, also of one that ZeRO-3 has already sharded away."""
    return math.prod(getattr(parameter, "ds_shape", parameter.shape))
