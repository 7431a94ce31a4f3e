"""What a GPU has left for activations once everything else of a run has its place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from alignment.modeling.chunked_logps import BLOCK_BYTES
from alignment.modeling.flops import Geometry

RESERVE = 0.08
"""Share of the memory within reach that is left to fragmentation and to kernels' workspaces."""

ZERO_DEFAULTS = {
    "stage3_max_live_parameters": 1_000_000_000,
    "stage3_prefetch_bucket_size": 50_000_000,
    "reduce_bucket_size": 500_000_000,
}
"""DeepSpeed's own, in numbers (`deepspeed.runtime.zero.config`)."""


def activation_memory(
    model: nn.Module, geometry: Geometry, device: torch.device, *, shards: int, zero: Mapping[str, Any] | None = None
) -> float | None:
    """Bytes of `device` left for activations once weights, gradients and AdamW's state are in place.

    Sixteen bytes a trained weight (bf16 weight and gradient, fp32 master and two moments; or fp32 throughout), four
    where the optimizer is kept on the host; the stored size of a frozen one; over the ranks that share them. Beside
    them lies what sharding gathers.

    Args:
        shards: ranks that hold a part of the model each (ZeRO-3, FSDP); 1 when every rank holds all of it.
        zero: DeepSpeed's `zero_optimization`, where DeepSpeed shards.
    """
    if device.type != "cuda":
        return None
    zero = zero or {}
    offloaded = (zero.get("offload_optimizer") or {}).get("device", "none") != "none"
    trained = sum(weights_of(p) for p in model.parameters() if p.requires_grad)
    frozen = sum(weights_of(p) * p.element_size() for p in model.parameters() if not p.requires_grad)
    states = ((4 if offloaded else 16) * trained + frozen) / shards
    gathered = gathered_bytes(geometry, trained=trained, zero=zero) if shards > 1 or zero else 0
    return max(0.0, within_reach(device) * (1 - RESERVE) - states - gathered - 3 * BLOCK_BYTES["cuda"])


def within_reach(device: torch.device) -> int:
    """Bytes that are free on a GPU, and those that this process holds already."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device)


def gathered_bytes(geometry: Geometry, *, trained: int, zero: Mapping[str, Any]) -> int:
    """Bytes of 16-bit weights and gradients that a sharded run holds beside its own shards at the fullest moment.

    The weights and gradients of a layer and of the head; with DeepSpeed also the weights that it keeps gathered, those
    that it gathers ahead, and two buckets of gradients, one filling while the other is sent.

    Args:
        zero: DeepSpeed's `zero_optimization`; empty for FSDP.
    """
    whole = geometry.block_parameters // geometry.layers + geometry.head_parameters
    if not zero:
        return 2 * 2 * whole

    def number(key: str) -> int:
        stated = zero.get(key)
        return int(stated) if isinstance(stated, int | float) else ZERO_DEFAULTS[key]

    live = max(whole, min(number("stage3_max_live_parameters"), geometry.block_parameters + geometry.head_parameters))
    buckets = 2 * min(number("reduce_bucket_size"), trained)
    return 2 * (live + number("stage3_prefetch_bucket_size") + buckets + whole)


def zero_settings(args: Any) -> Mapping[str, Any] | None:
    """DeepSpeed's `zero_optimization` of a run, as its training arguments carry it; `None` without DeepSpeed."""
    plugin = getattr(args, "deepspeed_plugin", None)
    return None if plugin is None else plugin.deepspeed_config.get("zero_optimization", {})


def weights_of(parameter: nn.Parameter) -> int:
    """Weights of a parameter, also of one that ZeRO-3 has already sharded away."""
    return math.prod(getattr(parameter, "ds_shape", parameter.shape))
