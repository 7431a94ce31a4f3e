"""The memory of one device by kind, at the fullest moment of a run."""

from __future__ import annotations

from collections.abc import Mapping

from alignment.modeling.device_memory import RESERVE, gathered_bytes, is_offloaded, reduced_bytes, state_bytes
from alignment.planning.case import Case
from alignment.planning.configurations import CONFIGURATIONS, Configuration
from alignment.planning.model_facts import itemsize_of
from alignment.planning.step import Footprint
from alignment.recipe.sizes import adam_bytes

CONTEXT = 0.6 * 2**30
"""Bytes that CUDA, its libraries and NCCL take of a GPU before any tensor; mem_get_info tells about as much."""
PROCESS = 0.75 * 2**30
"""Bytes of a training process before any tensor: Python, PyTorch, transformers, datasets and their pages."""
SUB_GROUP = 10**9
"""Weights that DeepSpeed updates at a time (its `sub_group_size`)."""

Parts = dict[str, float]
"""Kind -> bytes."""


def states_of(case: Case, configuration: Configuration, ranks: int) -> Parts:
    """Weights, gradients, optimizer states, and the reference model, of one rank."""
    facts, model = case.model, case.recipe.model
    states = state_bytes(
        trained=facts.trainable,
        frozen=facts.frozen_bytes,
        shards=configuration.shards(ranks),
        zero=configuration.zero,
    )._asdict()
    adam = adam_bytes(str(case.settings["optim"] or "adamw_torch"))
    if configuration.zero:
        states["optimizer"] *= (4 + adam) / 12
    else:
        held = 4 if model.use_peft else itemsize_of(model)  # adapters are fp32 whatever they adapt
        states["optimizer"] *= adam * held / 4 / 8 if adam == 8 else adam / 8
        states["gradients"] *= held / 4
        states["weights"] -= (4 - held) * facts.trainable / configuration.shards(ranks)
    return {**states, "reference": reference_bytes(case, configuration, ranks)}


def reference_bytes(case: Case, configuration: Configuration, ranks: int) -> float:
    """The frozen model that DPO compares with; adapters are compared with their own base."""
    if not case.method.reference or case.recipe.model.use_peft or case.settings["precompute_ref_log_probs"]:
        return 0.0
    stage = (configuration.zero or {}).get("stage", 0)
    itemsize = 2 if configuration.zero and case.mixed else itemsize_of(case.recipe.model)
    return itemsize * case.model.parameters / (ranks if stage == 3 or configuration.fsdp else 1)


def gpu_parts(
    case: Case,
    configuration: Configuration,
    ranks: int,
    footprint: Footprint,
    *,
    checkpointed: int,
    memory: int,
) -> Parts:
    """Of one GPU with `memory` bytes."""
    facts = case.model
    shards = configuration.shards(ranks)
    states = states_of(case, configuration, ranks)
    gathered = buckets = 0
    if shards > 1 or configuration.zero:
        found = gathered_bytes(case.geometry, trained=facts.trainable, zero=configuration.zero or {})
        gathered, buckets = found.weights, found.buckets  # gradients are among what was measured
    else:
        buckets = reduced_bytes(facts.trainable, replicas=ranks)
    dequantized = 2 * facts.largest_linear if case.recipe.model.load_in_4bit else 0
    backward = step_parts(footprint, case.geometry.layers, checkpointed)
    backward["working"] += dequantized
    update = updated_bytes(case, configuration, ranks)
    return {
        **states,
        "gathered": float(gathered),
        "buffers": float(buckets),
        **backward,
        "update": max(0.0, update - sum(backward.values()) - gathered),
        "context": CONTEXT,
        "margin": RESERVE * (memory - CONTEXT),
    }


def cpu_parts(case: Case, footprint: Footprint, *, checkpointed: int, first: bool) -> Parts:
    """Of a process on a CPU, which returns to the system what it does not use.

    Args:
        first: a step is one micro-batch, so that gradients come while activations go.
    """
    states = states_of(case, CONFIGURATIONS[0], 1)
    layers = case.geometry.layers
    backward = step_parts(footprint, layers, checkpointed)
    update = 2 * 4 * case.model.largest
    if first:
        # At the end of the backward pass, and at the update, all gradients are there; at its fullest moment few are.
        fullest = max(sum(backward.values()), states["gradients"] + update)
        backward["update"] = max(0.0, fullest - sum(backward.values()))
        states["gradients"] = 0.0
    else:
        backward["update"] = max(0.0, update - sum(backward.values()))
    return {**states, **backward, "process": PROCESS}


def step_parts(footprint: Footprint, layers: int, checkpointed: int) -> Parts:
    """What layers keep, what the head takes, and what else the fullest moment of a micro-batch holds."""
    peak = footprint.peak(layers, checkpointed)
    activations = min(peak, footprint.kept(layers, checkpointed))
    logits = min(peak - activations, footprint.head)
    return {"activations": activations, "logits": logits, "working": peak - activations - logits}


def updated_bytes(case: Case, configuration: Configuration, ranks: int) -> float:
    """What AdamW allocates while it updates, when no activation is there any more."""
    mine = case.model.trainable / configuration.shards(ranks)
    if configuration.zero is None:
        return 4 * mine
    return 0.0 if is_offloaded(configuration.zero) else 8 * min(mine, SUB_GROUP)


def host_parts(case: Case, configuration: Configuration, ranks: int, nodes: int) -> Mapping[str, float]:
    """Bytes of one machine's memory: while weights are loaded, while it trains, and while the model is saved.

    Under ZeRO-3 one process reads the weights; otherwise every process of the machine does.
    """
    facts, each = case.model, ranks // nodes
    whole = itemsize_of(case.recipe.model) * facts.parameters
    zero = configuration.zero or {}
    readers = 1 if zero.get("stage") == 3 or configuration.fsdp else each
    training = each * PROCESS + (12 * facts.trainable / nodes if is_offloaded(zero) else 0)
    gathers = 2 * facts.parameters if configuration.zero or configuration.fsdp else 0
    return {"loading": training + readers * whole, "training": training, "saving": training + gathers}
