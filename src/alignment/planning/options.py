"""Every way to run a recipe: what it takes of a device, how long, and the command that does it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import psutil

from alignment.errors import Fault
from alignment.modeling.device_memory import is_offloaded, left_for_activations
from alignment.planning.case import Case
from alignment.planning.configurations import CONFIGURATIONS, Configuration
from alignment.planning.dealing import Dealt, dealt_out
from alignment.planning.gpus import Gpu
from alignment.planning.memory import CONTEXT, Parts, cpu_parts, gpu_parts, host_parts
from alignment.planning.speed import CPU_FLOPS, HOST_UPDATES, TO_HOST, Share, link_of, run_seconds, traffic_of
from alignment.planning.step import Footprint
from alignment.planning.summary import CPU
from alignment.recipe.batch import plan_batch
from alignment.recipe.files import recipe_word

PER_MACHINE = 8
"""GPUs of one machine."""


@dataclass(frozen=True, kw_only=True)
class Option:
    """One way to run a recipe."""

    gpu: str
    count: int
    """GPUs, or processes on a CPU, in all."""
    nodes: int
    configuration: str
    memory: Parts
    """Bytes of one device at the fullest moment, by kind."""
    available: int
    """Bytes that it has."""
    host: Parts
    """Bytes of one machine's memory while it loads, trains and saves."""
    tokens_per_device: int | None
    """Tokens that a packed micro-batch may hold; `None` where rows are counted instead."""
    checkpointed_layers: int
    micro_batches: int
    """Of one process in an optimizer step, at the most."""
    seconds: float
    steps: int
    """Optimizer steps of the run."""

    @property
    def total(self) -> float:
        return sum(self.memory.values())

    @property
    def fits(self) -> bool:
        return self.total <= self.available

    @property
    def gpu_hours(self) -> float:
        return self.count * self.seconds / 3600


Way = tuple[Gpu, int, int, Configuration]
"""GPU, how many in all, on how many machines, and how the run is spread over them."""


def ways(case: Case, gpus: Sequence[Gpu], counts: Sequence[int], nodes: int | None) -> Iterator[Way]:
    """What should be looked at."""
    quantized = case.recipe.model.load_in_4bit or case.recipe.model.load_in_8bit
    for gpu in gpus:
        for count in counts:
            if isinstance(plan_batch(case.recipe.resolved, count), Fault):
                continue
            for configuration in CONFIGURATIONS:
                if configuration.suits(count, quantized=quantized):
                    yield gpu, count, nodes or math.ceil(count / PER_MACHINE), configuration


def on_gpus(case: Case, way: Way, share: Share, *, every_step: bool = False) -> Option:
    """A way to run on GPUs.

    Args:
        every_step: deal out the whole run, not a sample of it.
    """
    gpu, count, nodes, configuration = way
    whole = not (configuration.zero or configuration.fsdp)
    memory = left_for_activations(
        gpu.memory - CONTEXT,
        case.geometry,
        trained=case.model.trainable,
        frozen=case.model.frozen_bytes,
        shards=configuration.shards(count),
        zero=configuration.zero,
        replicas=count if whole else 1,
        cast=case.cast if whole else 0,
    )
    dealt = dealt_out(case, count, memory, lock_step=not whole, every_step=every_step)
    footprint = footprint_of(case, dealt, whole=whole)
    parts = gpu_parts(case, configuration, count, footprint, checkpointed=dealt.checkpointed, memory=gpu.memory)
    again = dealt.checkpointed / case.geometry.layers
    offloaded = is_offloaded(configuration.zero or {})
    mine = case.model.trainable / count
    steps = case.optimizer_steps(count)
    seconds = run_seconds(
        flops=dealt.flops * (case.passes + again),
        rate=gpu.peak * share.value,
        traffic=traffic_of(
            weights=2 * case.model.parameters,
            gradients=2 * case.model.trainable,
            stage=3 if configuration.fsdp else (configuration.zero or {}).get("stage", 0),
            ranks=count,
        ),
        link=link_of(gpu, nodes=nodes),
        micro_steps=round(dealt.micro_steps),
        steps=steps,
        host=mine / HOST_UPDATES + 4 * mine / (TO_HOST * 1e9) if offloaded else 0.0,
    )
    return Option(
        gpu=gpu.name,
        count=count,
        nodes=nodes,
        configuration=configuration.name,
        memory=parts,
        available=gpu.memory,
        host=dict(host_parts(case, configuration, count, nodes)),
        tokens_per_device=dealt.tokens,
        checkpointed_layers=dealt.checkpointed,
        micro_batches=dealt.micro_batches,
        seconds=seconds + case.evaluation_flops / (count * gpu.peak * share.value),
        steps=steps,
    )


def on_cpu(case: Case, cores: int) -> Option:
    """One process on this machine's CPU, which computes what it is given without fused kernels."""
    configuration = CONFIGURATIONS[0]
    dealt = dealt_out(case, 1, None, lock_step=False, every_step=len(case.rows.train) <= 5000)
    first = dealt.micro_batches == 1
    lengths = [case.rows.train[row] for row in dealt.rows]
    if case.form == "packed":
        footprint = case.footprint_of_pairs(lengths, first=first)
    else:
        footprint = case.footprint(case.step(lengths, whole=True, kernels="cpu", first=first))
    again = dealt.checkpointed / case.geometry.layers
    flops = dealt.flops * (case.passes + again) + case.evaluation_flops
    parts = cpu_parts(case, footprint, checkpointed=dealt.checkpointed, first=first)
    return Option(
        gpu=CPU,
        count=1,
        nodes=1,
        configuration=CPU,
        memory=parts,
        available=psutil.virtual_memory().total,
        host=dict(host_parts(case, configuration, 1, 1)),
        tokens_per_device=dealt.tokens,
        checkpointed_layers=dealt.checkpointed,
        micro_batches=dealt.micro_batches,
        seconds=flops / (cores * CPU_FLOPS),
        steps=case.optimizer_steps(1),
    )


def footprint_of(case: Case, dealt: Dealt, *, whole: bool) -> Footprint:
    """Of a GPU's largest micro-batch."""
    lengths = [case.rows.train[row] for row in dealt.rows]
    if case.form == "packed":
        return case.footprint_of_tokens(sum(map(sum, lengths)), whole=whole)
    return case.footprint(case.step(lengths, whole=whole, kernels="cuda", first=False))


def command(case: Case, option: Option, arguments: Sequence[str]) -> str:
    """What starts the recipe like this."""
    words = ["make", "train", f"RECIPE={recipe_word(case.recipe.path)}"]
    if option.gpu == CPU:
        words.append("ACCELERATE=cpu")
    else:
        words.append(f"NPROC={option.count // option.nodes}")
        if option.configuration != "single":
            words.append(f"ACCELERATE={option.configuration}")
    if option.nodes > 1:
        words.append(f"NNODES={option.nodes} NODE_RANK=<0 to {option.nodes - 1}> MASTER_ADDR=<address of the first>")
    if arguments:
        words.append(f'ARGS="{" ".join(arguments)}"')
    return " ".join(words)
