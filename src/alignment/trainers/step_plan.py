"""What a run's steps look like once their pairs are dealt out: largest micro-batch, micro-steps, waiting."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from alignment.data.balance import BalancedPlan, machine_cost

NOTEWORTHY = 0.1
"""Share of the machine lost to waiting that a run is told of before it starts."""
SAMPLED_STEPS = 32
"""Steps from which the waiting of another batch or number of ranks is estimated."""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """The steps of a run and what their pairs cost."""

    steps: Sequence[Sequence[int]]
    """Rows of every optimizer step."""
    costs: Sequence[float]
    """FLOPs of every row of the data set, forward."""
    sizes: Sequence[int]
    """Tokens of every row of the data set."""
    lock_step: bool
    """Ranks wait for each other in every micro-step, as sharded runs do, not only at the end of a step."""


@dataclass(frozen=True, kw_only=True)
class Deal:
    """A workload on so many ranks under one token budget."""

    plan: BalancedPlan
    fewest: int
    """Micro-steps of the optimizer step that has the fewest."""
    most: int
    """Micro-steps of the optimizer step that has the most."""
    micro_steps: int
    """Micro-steps of all optimizer steps."""
    largest: int
    """Tokens of the largest micro-batch of any rank."""
    machine: float
    """FLOPs that all ranks together could have done in the time, waiting included."""
    waiting: float
    """Share of `machine` that is spent waiting for the slowest rank, from 0 to below 1."""


def deal(workload: Workload, *, world_size: int, tokens: int) -> Deal:
    """Deal every step out; a pure function of its arguments, the same on every rank."""
    plan = BalancedPlan(workload.costs, workload.sizes, tokens_per_device=tokens)
    counts, largest, machine, useful = [0], 0, 0.0, 0.0
    for rows in workload.steps:
        dealt = plan(rows, world_size)
        counts.append(len(dealt))
        largest = max(largest, *(sum(workload.sizes[row] for row in content) for ranks in dealt for content in ranks))
        machine += machine_cost(dealt, workload.costs, lock_step=workload.lock_step)
        useful += sum(workload.costs[row] for row in rows)
    counts = counts[1:] or [1]
    return Deal(
        plan=plan,
        fewest=min(counts),
        most=max(counts),
        micro_steps=sum(counts),
        largest=largest,
        machine=machine,
        waiting=1 - useful / machine if machine else 0.0,
    )


def waiting_advice(workload: Workload, *, world_size: int, tokens: int, waiting: float) -> str | None:
    """What to say before a run whose ranks would wait much; `None` for others.

    With so few pairs a rank no deal is even: the longest pair alone takes longer than the average share. A larger
    batch or fewer ranks level it.
    """
    if waiting < NOTEWORTHY or world_size == 1:
        return None
    sample = replace(workload, steps=workload.steps[:SAMPLED_STEPS])
    pairs = max(map(len, workload.steps))
    remedies = [*_larger_batch(sample, pairs, world_size, tokens), *_fewer_ranks(sample, world_size, tokens)]
    return (
        f"Ranks will spend {waiting:.0%} of their time waiting for each other: {pairs} pairs on {world_size} ranks are "
        f"{pairs / world_size:.3g} a rank. " + "; ".join(remedies) + "." * bool(remedies)
    ).rstrip()


def _larger_batch(sample: Workload, pairs: int, world_size: int, tokens: int) -> Iterable[str]:
    factor = 2
    while factor <= len(sample.steps):
        starts = range(0, len(sample.steps) - factor + 1, factor)
        merged = [[row for step in sample.steps[start : start + factor] for row in step] for start in starts]
        dealt = deal(replace(sample, steps=merged), world_size=world_size, tokens=tokens)
        if dealt.waiting < NOTEWORTHY:
            yield f"global_batch_size {factor * pairs} would lower that to {dealt.waiting:.0%}"
            return
        factor *= 2


def _fewer_ranks(sample: Workload, world_size: int, tokens: int) -> Iterable[str]:
    for ranks in (world_size // divisor for divisor in range(2, world_size + 1) if world_size % divisor == 0):
        dealt = deal(sample, world_size=ranks, tokens=tokens)
        if dealt.waiting < NOTEWORTHY:
            yield f"{ranks} rank{'s' * (ranks > 1)} would wait {dealt.waiting:.0%}"
            return
