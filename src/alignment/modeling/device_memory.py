"""What a GPU has left for activations once everything else of a run has its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from alignment.modeling.chunked_logps import BLOCK_BYTES
from alignment.modeling.flops import Geometry
from alignment.modeling.parameters import whole_numel

RESERVE = 0.08
"""Share of the memory within reach that is left to fragmentation and to kernels' workspaces."""

ZERO_DEFAULTS = {
    "stage3_max_live_parameters": 1_000_000_000,
    "stage3_prefetch_bucket_size": 50_000_000,
    "reduce_bucket_size": 500_000_000,
    "allgather_bucket_size": 500_000_000,
}
"""DeepSpeed's own, in numbers (`deepspeed.runtime.zero.config`)."""


class States(NamedTuple):
    """Bytes on one device."""

    weights: float
    gradients: float
    optimizer: float


def activation_memory(
    model: nn.Module,
    geometry: Geometry,
    device: torch.device,
    *,
    shards: int,
    zero: Mapping[str, Any] | None = None,
    replicas: int = 1,
    mixed: bool = False,
) -> float | None:
    """Bytes of `device` left for activations once weights, gradients and AdamW's state are in place.

    Args:
        shards: ranks that hold a part of the model's states each (ZeRO, FSDP); 1 when every rank holds all of them.
        zero: DeepSpeed's `zero_optimization`, where DeepSpeed shards.
        replicas: ranks that hold all of the model each (DDP).
        mixed: autocast computes in 16 bits.
    """
    if device.type != "cuda":
        return None
    parameters = list(model.parameters())
    return left_for_activations(
        within_reach(device),
        geometry,
        trained=sum(whole_numel(p) for p in parameters if p.requires_grad),
        frozen=sum(whole_numel(p) * p.element_size() for p in parameters if not p.requires_grad),
        shards=shards,
        zero=zero,
        replicas=replicas,
        cast=sum(whole_numel(p) for p in parameters if p.dtype == torch.float32) if mixed else 0,
    )


def left_for_activations(
    memory: float,
    geometry: Geometry,
    *,
    trained: int,
    frozen: float,
    shards: int,
    zero: Mapping[str, Any] | None = None,
    replicas: int = 1,
    cast: int = 0,
) -> float:
    """Of `memory` bytes within reach, what a run has left for activations.

    Args:
        trained: weights that are trained.
        frozen: bytes of those that are not.
        shards, zero, replicas: as for `activation_memory`.
        cast: fp32 weights that autocast copies to 16 bits, where the whole model is computed on one device.
    """
    states = sum(state_bytes(trained=trained, frozen=frozen, shards=shards, zero=zero))
    sharded = shards > 1 or zero
    beside = sum(gathered_bytes(geometry, trained=trained, zero=zero or {})) if sharded else 2 * cast
    beside += reduced_bytes(trained, replicas=replicas)
    return max(0.0, memory * (1 - RESERVE) - states - beside - 3 * BLOCK_BYTES["cuda"])


def state_bytes(*, trained: int, frozen: float, shards: int, zero: Mapping[str, Any] | None = None) -> States:
    """Weights, gradients and AdamW's state: sixteen bytes a trained weight, and what frozen ones take.

    Unsharded and under FSDP all of it is fp32, shared by the shards. DeepSpeed holds 16-bit weights (shared from stage
    3 on) and gradients (from stage 2 on), and an fp32 master with two moments, shared in every stage; or on the host,
    where they are offloaded.
    """
    if not zero:
        return States((4 * trained + frozen) / shards, 4 * trained / shards, 8 * trained / shards)
    stage = zero.get("stage", 3)
    return States(
        weights=(2 * trained + frozen) / (shards if stage >= 3 else 1),
        gradients=2 * trained / (shards if stage >= 2 else 1),
        optimizer=0.0 if is_offloaded(zero) else 12 * trained / shards,
    )


def is_offloaded(zero: Mapping[str, Any]) -> bool:
    """Whether optimizer states are kept on the host."""
    return (zero.get("offload_optimizer") or {}).get("device", "none") != "none"


def reduced_bytes(trained: int, *, replicas: int) -> int:
    """Bytes of the fp32 buckets from which DDP averages gradients over `replicas` whole models: all of them again."""
    return 4 * trained if replicas > 1 else 0


def within_reach(device: torch.device) -> int:
    """Bytes that are free on a GPU, and those that this process holds already."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device)


class Gathered(NamedTuple):
    """Bytes beside a rank's own shards at the fullest moment."""

    weights: int
    """Of other ranks: those of a layer and of the head; with DeepSpeed what it keeps gathered and gathers ahead."""
    gradients: int
    """Of a whole layer and of the head, before they are shared out."""
    buckets: int
    """Of gradients, one filling while the other is sent."""


def gathered_bytes(geometry: Geometry, *, trained: int, zero: Mapping[str, Any]) -> Gathered:
    """What a sharded run holds in 16 bits beside its own shards.

    Below stage 3 nothing is gathered but the updated weights, a bucket at a time.

    Args:
        zero: DeepSpeed's `zero_optimization`; empty for FSDP.
    """
    whole = geometry.block_parameters // geometry.layers + geometry.head_parameters
    if not zero:
        return Gathered(2 * whole, 2 * whole, 0)

    def number(key: str) -> int:
        stated = zero.get(key)
        return int(stated) if isinstance(stated, int | float) else ZERO_DEFAULTS[key]

    buckets = 2 * min(number("reduce_bucket_size"), trained)
    if zero.get("stage", 3) < 3:
        return Gathered(2 * min(number("allgather_bucket_size"), trained), 0, 2 * buckets)
    live = max(whole, min(number("stage3_max_live_parameters"), geometry.block_parameters + geometry.head_parameters))
    return Gathered(2 * (live + number("stage3_prefetch_bucket_size")), 2 * whole, 2 * buckets)


def zero_settings(args: Any) -> Mapping[str, Any] | None:
    """DeepSpeed's `zero_optimization` of a run, as its training arguments carry it; `None` without DeepSpeed."""
    plugin = getattr(args, "deepspeed_plugin", None)
    return None if plugin is None else plugin.deepspeed_config.get("zero_optimization", {})
