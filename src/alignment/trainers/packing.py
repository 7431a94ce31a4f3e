"""The packed layout of a run: memory, micro-steps and the plan that deals a step's pairs out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from accelerate.utils import gather_object
from transformers import TrainingArguments
from transformers.integrations import is_deepspeed_zero3_enabled

from alignment.data.balance import BalancedPlan, micro_steps_for
from alignment.data.sampler import even_plan, training_sampler
from alignment.distribution import sharding_now
from alignment.modeling.recompute import Budget, activation_memory, checkpoint_first_layers, plan_memory
from alignment.precision import compute_dtype
from alignment.throughput import Geometry, PairLengths, forward_flops
from alignment.trainers.config import ReferenceFreeConfig


@dataclass(frozen=True, kw_only=True)
class Packing:
    """How a run packs."""

    budget: Budget
    plan: BalancedPlan
    micro_steps: int
    """Micro-steps of every optimiser step: the run's `gradient_accumulation_steps`."""

    def facts(self) -> dict[str, int]:
        """For the log and the manifest."""
        return {
            "tokens_per_device": self.budget.tokens,
            "micro_batches": self.micro_steps,
            "checkpointed_layers": self.budget.checkpointed_layers,
        }


def plan_packing(args: ReferenceFreeConfig, model: Any, train_dataset: Any, *, fused: bool = False) -> Packing:
    """Decide tokens per device, checkpointed layers and micro-steps of a run before it starts.

    Args:
        model: on any device, wrapped by peft or not.
        train_dataset: token rows.
        fused: whether norms and activations were fused (`fuse_elementwise`).
    """
    geometry = Geometry.of(model.config)
    lengths = pair_lengths_of(train_dataset)
    costs = [forward_flops(geometry, pair) for pair in lengths]
    sizes = [sum(pair) for pair in lengths]
    memory = activation_memory(model, geometry, args.device, shards=shards_of(args))
    budget = plan_memory(
        geometry,
        compute_dtype(args, model).itemsize,
        # Ranks that planned differently would wait for each other for ever.
        None if memory is None else min(gather_object([memory])),
        checkpointing=args.gradient_checkpointing,
        longest_pair=max(sizes),
        tokens=args.tokens_per_device,
        fused=fused,
    )
    micro_steps = micro_steps_for(
        list(steps_of(args, len(sizes))),
        costs,
        sizes,
        world_size=args.world_size,
        tokens_per_device=budget.tokens,
    )
    return Packing(budget=budget, plan=BalancedPlan(costs, micro_steps=micro_steps), micro_steps=micro_steps)


def apply_packing(packing: Packing | None, args: ReferenceFreeConfig, model: Any) -> None:
    """Let the Trainer's loop accumulate over the planned micro-steps and checkpoint the planned layers.

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
    args.gradient_accumulation_steps = packing.micro_steps
    deepspeed = getattr(args, "hf_deepspeed_config", None)
    if deepspeed is not None:
        # A configuration given as `deepspeed:` was filled in from the arguments when they were made.
        deepspeed.config["gradient_accumulation_steps"] = packing.micro_steps
        deepspeed.config["train_batch_size"] = args.train_batch_size * packing.micro_steps * args.world_size
    if auto:
        checkpoint_first_layers(model, packing.budget.checkpointed_layers)


def pair_lengths_of(dataset: Any) -> list[PairLengths]:
    """Tokens of prompt, chosen and rejected of every row, without loading the tokens themselves."""
    import pyarrow.compute as compute

    table = dataset.with_format("arrow")[:]
    columns = (compute.list_value_length(table[name]) for name in ("prompt_ids", "chosen_ids", "rejected_ids"))
    return list(zip(*(column.to_pylist() for column in columns), strict=True))


def steps_of(args: TrainingArguments, num_rows: int) -> Iterator[list[int]]:
    """The rows of every optimiser step that the run will make."""
    pairs_per_step = global_batch_size(args)
    # Which rows are in a step does not depend on how they will be dealt out.
    sampler = training_sampler(args, num_rows=num_rows, global_batch_size=pairs_per_step, plan=even_plan(1))
    epochs = math.ceil(args.num_train_epochs)
    if args.max_steps > 0:
        epochs = math.ceil(args.max_steps * pairs_per_step / num_rows)
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        yield from sampler.steps()


def global_batch_size(args: TrainingArguments) -> int:
    """Pairs of an optimiser step, as the arguments state them."""
    return args.train_batch_size * args.gradient_accumulation_steps * args.world_size


def shards_of(args: TrainingArguments) -> int:
    """Ranks that hold a part of the model each; 1 when every rank holds all of it."""
    sharded = is_deepspeed_zero3_enabled() or sharding_now(args).kind == "FSDP"
    return args.world_size if sharded else 1
