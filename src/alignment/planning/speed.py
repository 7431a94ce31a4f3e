"""How long a run takes: its arithmetic at a share of the peak, or what GPUs send each other if that takes longer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from alignment.planning.gpus import Gpu

MEASURED = Path("benchmarks/results/gpu.json")
"""What `make bench-gpu` leaves."""
ASSUMED_SHARE = 0.40
"""Of the bf16 peak while a GPU computes, where nothing was measured: a round number between padded preference training
(about 20 % is published) and what packed rows with fused kernels are meant to reach (50 %)."""
CPU_FLOPS = 0.078e12
"""A core's useful fp32 FLOP/s in this code's own benchmark (benchmarks/results/cpu.json: 40 % of 0.196 TFLOP/s)."""
BETWEEN_MACHINES = 25
"""GB/s of each GPU to other machines: a 200 Gbit/s adapter a GPU."""
TO_HOST = 20
"""GB/s between a GPU and host memory."""
HOST_UPDATES = 0.5e9
"""Weights a second that one process's AdamW updates in host memory."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """Share of the peak that GPUs are taken to reach."""

    value: float
    reason: str


def share_of_peak(folder: Path) -> Share:
    """What was measured on a GPU with this code, or what is assumed.

    Args:
        folder: root of the repository.
    """
    try:
        found = json.loads((folder / MEASURED).read_text(encoding="utf-8"))
        arm = next(arm for arm in found["arms"] if arm["name"] == "ours" and arm.get("mfu"))
        name = found["hardware"].get("gpu", "a GPU")
    except (OSError, ValueError, KeyError, StopIteration):
        reason = f"assumed: nothing was measured here yet (`make bench-gpu` writes {MEASURED})"
        return Share(value=ASSUMED_SHARE, reason=reason)
    return Share(value=float(arm["mfu"]), reason=f"measured on {name} ({MEASURED}), taken for every GPU")


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Bytes that one GPU sends."""

    micro_step: float
    """In every micro-step, behind its computation."""
    step: float
    """Once an optimizer step, behind nothing."""


def traffic_of(*, weights: float, gradients: float, stage: int, ranks: int) -> Traffic:
    """What a rank sends for a model of so many bytes of 16-bit weights and gradients.

    Args:
        stage: 0 for DDP, whose gradients are averaged once a step; 1 and 2 as ZeRO's; 3 also for FSDP.
    """
    part = (ranks - 1) / ranks
    if stage == 0:
        return Traffic(micro_step=0, step=2 * 2 * gradients * part)  # fp32, reduced and spread
    if stage == 1:
        return Traffic(micro_step=0, step=2 * gradients * part)
    if stage == 2:
        return Traffic(micro_step=gradients * part, step=gradients * part)
    return Traffic(micro_step=(2 * weights + gradients) * part, step=0)


def run_seconds(
    *, flops: float, rate: float, traffic: Traffic, link: float, micro_steps: int, steps: int, host: float = 0.0
) -> float:
    """Seconds of a run.

    Args:
        flops: of one rank over the whole run, waiting included.
        rate: FLOP/s that it reaches.
        traffic, link: bytes, and GB/s.
        micro_steps, steps: of the whole run.
        host: seconds a step on the host.
    """
    sent = traffic.micro_step * micro_steps / (link * 1e9)
    return max(flops / rate, sent) + steps * (traffic.step / (link * 1e9) + host)


def link_of(gpu: Gpu, *, nodes: int) -> float:
    """GB/s at which the slowest of several GPUs sends."""
    return min(gpu.link, BETWEEN_MACHINES) if nodes > 1 else gpu.link
