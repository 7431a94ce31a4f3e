"""The packed layout of a run: memory, micro-steps and the plan that deals a step's pairs out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from accelerate.utils import gather_object
from transformers import TrainingArguments

from alignment.modeling.device_memory import activation_memory, zero_settings
from alignment.modeling.flops import Geometry, forward_flops
from alignment.modeling.memory_plan import (
    Budget,
    bytes_per_token,
    checkpoint_first_layers,
    layers_to_checkpoint,
    plan_memory,
    score_bytes,
    tokens_that_fit,
)
from alignment.modeling.peft import adapter_numbers
from alignment.modeling.precision import compute_dtype
from alignment.trainers.config import ReferenceFreeConfig
from alignment.trainers.sharding import sharding_now
from alignment.trainers.step_plan import Deal, Workload, deal, waiting_advice
from alignment.trainers.step_rows import pair_lengths_of, steps_of

MICRO_STEP_TOKENS = 512
"""What a micro-step costs beside its tokens, in tokens: launches, and gathering sharded weights. A guess."""


@dataclass(frozen=True, kw_only=True)
class Packing:
    """How a run packs."""

    budget: Budget
    dealt: Deal
    planned_bytes: int
    """What the activations of the run's largest micro-batch are planned to take on one device."""
    advice: str | None
    """What to tell before the run, if its ranks will wait much."""

    def facts(self) -> dict[str, Any]:
        """For the log and the manifest."""
        return {
            "tokens_per_device": self.budget.tokens,
            "largest_micro_batch": self.dealt.largest,
            "micro_batches": self.dealt.most,
            "fewest_micro_batches": self.dealt.fewest,
            "checkpointed_layers": self.budget.checkpointed_layers,
            "waiting": round(self.dealt.waiting, 4),
            "planned_activation_gb": round(self.planned_bytes / 1e9, 2),
        }

    def __str__(self) -> str:
        steps = self.dealt.most
        micro_steps = f"{steps}" if self.dealt.fewest == steps else f"{self.dealt.fewest} to {steps}"
        return (
            f"{micro_steps} micro-steps an optimizer step, of at most {self.dealt.largest:,} tokens "
            f"(allowed: {self.budget.tokens:,}); {self.budget.checkpointed_layers} layers checkpointed; "
            f"{self.planned_bytes / 1e9:.1f} GB planned for activations"
        )


def plan_packing(
    args: ReferenceFreeConfig, model: Any, train_dataset: Any, *, backend: str, fused: bool = False
) -> Packing:
    """Decide tokens per device, checkpointed layers and micro-steps of a run before it starts.

    Args:
        model: on any device, wrapped by peft or not.
        train_dataset: token rows.
        backend: what computes attention.
        fused: whether norms and activations were fused (`fuse_elementwise`).
    """
    geometry = Geometry.of(model.config)
    lengths = pair_lengths_of(train_dataset)
    workload = Workload(
        steps=list(steps_of(args, len(lengths))),
        costs=[forward_flops(geometry, pair) for pair in lengths],
        sizes=[sum(pair) for pair in lengths],
        lock_step=shards_of(args) > 1,
    )
    shards, zero = shards_of(args), zero_settings(args)
    memory = activation_memory(
        model,
        geometry,
        args.device,
        shards=shards,
        zero=zero,
        replicas=1 if shards > 1 else args.world_size,
        mixed=(args.bf16 or args.fp16) and shards == 1 and not zero,
    )
    itemsize = compute_dtype(args, model).itemsize
    scores = score_bytes(backend, geometry, itemsize, lengths)
    # Ranks that planned differently would wait for each other for ever.
    memory = None if memory is None else min(gather_object([memory]))
    return pack(
        workload,
        geometry,
        itemsize,
        memory,
        world_size=args.world_size,
        checkpointing=args.gradient_checkpointing,
        tokens=args.tokens_per_device,
        kept={"fused": fused, "scores": scores + itemsize * adapter_numbers(model)},
    )


def pack(
    workload: Workload,
    geometry: Geometry,
    itemsize: int,
    memory: float | None,
    *,
    world_size: int,
    checkpointing: bool | str,
    tokens: int | None,
    kept: Mapping[str, Any],
) -> Packing:
    """How a run packs: what training does, and what a plan says before it.

    Args:
        memory: bytes of one device for activations; `None` on a CPU.
        checkpointing, tokens: the recipe's `gradient_checkpointing` and `tokens_per_device`.
        kept: `fused` and `scores` as in `modeling.memory_plan.activation_bytes`, what adapters keep among the latter.
    """
    budget = plan_memory(
        geometry,
        itemsize,
        memory,
        checkpointing=checkpointing,
        longest_pair=max(workload.sizes),
        tokens=tokens,
        **kept,
    )
    dealt = deal(workload, world_size=world_size, tokens=budget.tokens)
    if memory is not None and checkpointing == "auto":
        need = partial(layers_to_checkpoint, geometry, itemsize, memory, **kept)
        fits = tokens_that_fit(geometry, itemsize, memory, checkpointed_layers=0, **kept)
        free = fits if tokens is None else 0
        need_of: Callable[[int], int] = lambda largest: need(tokens=largest)  # noqa: E731
        budget, dealt = fitted(workload, dealt, geometry, world_size=world_size, need=need_of, unchecked=free)
    return Packing(
        budget=budget,
        dealt=dealt,
        planned_bytes=dealt.largest * bytes_per_token(geometry, itemsize, budget.checkpointed_layers, **kept),
        advice=waiting_advice(workload, world_size=world_size, tokens=budget.tokens, waiting=dealt.waiting),
    )


def fitted(
    workload: Workload,
    dealt: Deal,
    geometry: Geometry,
    *,
    world_size: int,
    need: Callable[[int], int],
    unchecked: int,
) -> tuple[Budget, Deal]:
    """From the run's largest micro-batch back to the layers that it needs checkpointed.

    A budget is planned for more tokens than any micro-batch may turn out to hold. And a smaller one that needs no
    checkpointing at all is better where computing layers again costs more than the micro-steps it saves.

    Args:
        dealt: under the budget as first planned.
        need: tokens of a micro-batch -> layers to checkpoint.
        unchecked: tokens that fit without checkpointing; 0 where the recipe states how many there are.
    """
    choices = [dealt]
    if max(workload.sizes) <= unchecked < dealt.plan.tokens_per_device:
        choices.append(deal(workload, world_size=world_size, tokens=unchecked))

    def cost(choice: Deal) -> float:
        again = need(choice.largest) / geometry.layers
        beside = choice.micro_steps * world_size * MICRO_STEP_TOKENS * 2 * geometry.block_parameters
        return (choice.machine + beside) * (3 + again)

    best = min(choices, key=cost)
    return Budget(tokens=best.plan.tokens_per_device, checkpointed_layers=need(best.largest)), best


def apply_packing(packing: Packing | None, args: ReferenceFreeConfig, model: Any) -> None:
    """Tell DeepSpeed the largest number of micro-steps, and checkpoint the planned layers.

    Without a plan, `gradient_checkpointing: auto` means every layer: padded rows have no token budget.
    """
    auto = args.gradient_checkpointing == "auto"
    if auto:
        args.gradient_checkpointing = args.activation_checkpointing = packing is None
    if packing is None:
        return
    if args.use_liger_kernel:
        # Liger's fused loss replaces the model's forward, knows no soft-cap, and has no place in ours.
        own = {"fused_linear_cross_entropy": False, "cross_entropy": False}
        args.liger_kernel_config = {**(args.liger_kernel_config or {}), **own}
    args.gradient_accumulation_steps = packing.dealt.most
    deepspeed = getattr(args, "hf_deepspeed_config", None)
    if deepspeed is not None:
        # A configuration given as `deepspeed:` was filled in from the arguments when they were made.
        deepspeed.config["gradient_accumulation_steps"] = packing.dealt.most
        deepspeed.config["train_batch_size"] = args.train_batch_size * packing.dealt.most * args.world_size
    if auto:
        checkpoint_first_layers(model, packing.budget.checkpointed_layers)


def shards_of(args: TrainingArguments) -> int:
    """Ranks that hold a part of the model's states each; 1 when every rank holds all of it."""
    sharded = sharding_now(args).kind != "whole"
    return args.world_size if sharded else 1
