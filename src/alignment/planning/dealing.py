"""How training would deal the rows of its steps out to some devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from alignment.data.balance import BalancedPlan, machine_cost
from alignment.data.sampler import even_plan
from alignment.planning.case import Case
from alignment.trainers.packing_plan import Packing, pack
from alignment.trainers.step_plan import Workload

SAMPLED = 16
"""Steps from which the options are compared; the one that is recommended is planned with all of them."""


@dataclass(frozen=True, kw_only=True)
class Dealt:
    """How the rows of the run's steps are computed by one of its devices."""

    checkpointed: int
    micro_batches: int
    micro_steps: float
    """Of the whole run."""
    flops: float
    """Forward, of one device over the whole run, waiting included."""
    rows: Sequence[int]
    """The largest micro-batch."""
    tokens: int | None
    """The budget of a micro-batch."""


def dealt_out(case: Case, ranks: int, memory: float | None, *, lock_step: bool, every_step: bool) -> Dealt:
    """How training deals the rows out, with `memory` bytes of a device for activations; `None` on a CPU."""
    workload = case.workload(ranks, lock_step=lock_step)
    steps = workload.steps if every_step else workload.steps[:SAMPLED]
    sample = replace(workload, steps=steps)
    scale = len(workload.steps) / len(steps)
    if not case.plans_steps:
        return evenly(case, sample, ranks, scale)
    packing: Packing = pack(
        sample,
        case.geometry,
        2 if case.mixed else 4,
        memory,
        world_size=ranks,
        checkpointing=case.settings["gradient_checkpointing"] or False,
        tokens=case.settings["tokens_per_device"],
        kept=case.kept("cpu" if memory is None else "cuda"),
    )
    dealt = packing.dealt
    return Dealt(
        checkpointed=packing.budget.checkpointed_layers,
        micro_batches=dealt.most,
        micro_steps=dealt.micro_steps * scale,
        flops=dealt.machine / ranks * scale,
        rows=largest_micro_batch(sample, dealt.plan, ranks),
        tokens=packing.budget.tokens,
    )


def evenly(case: Case, workload: Workload, ranks: int, scale: float) -> Dealt:
    """So many rows a micro-batch, whatever their length; padded ones cost what the longest does."""
    micro, accumulation = case.batch(ranks)
    plan = even_plan(micro)
    costs = list(workload.costs)
    machine = 0.0
    for rows in workload.steps:
        dealt = plan(rows, ranks)
        if case.form != "packed":
            for content in (content for contents in dealt for content in contents if content):
                costs = _raised(costs, content)
        machine += machine_cost(dealt, costs, lock_step=workload.lock_step)
    longest = sorted(range(len(workload.sizes)), key=lambda row: workload.sizes[row], reverse=True)
    checkpointing = case.settings["gradient_checkpointing"]
    return Dealt(
        checkpointed=case.geometry.layers if checkpointing else 0,
        micro_batches=accumulation,
        micro_steps=accumulation * len(workload.steps) * scale,
        flops=machine / ranks * scale,
        rows=longest[:micro],
        tokens=None,
    )


def _raised(costs: list[float], rows: Sequence[int]) -> list[float]:
    most = max(costs[row] for row in rows)
    for row in rows:
        costs[row] = most
    return costs


def largest_micro_batch(workload: Workload, plan: BalancedPlan, ranks: int) -> Sequence[int]:
    """The rows of the micro-batch with most tokens."""
    contents = (rows for step in workload.steps for contents in plan(step, ranks) for rows in contents)
    return max(contents, key=lambda rows: sum(workload.sizes[row] for row in rows))
