"""The same pairs an optimiser step, dealt out so that no rank waits for another and none runs out of memory.

A step's pairs go into `world x micro-steps` bins, one packed row each. Longest processing time first (Graham 1969)
keeps the bins' costs within a percent or two of each other, where a random deal of real lengths wastes a quarter
of the machine. The number of micro-steps follows from how many tokens a device may hold.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence


def balanced_plan(costs: Sequence[float], bins: int) -> list[list[int]]:
    """Deal items to bins: dearest first, each to the bin that is cheapest so far.

    With costs `[7, 5, 4, 3, 1]` and two bins: 7 | 5, then 4 to 5, 3 to 7, 1 to 9: `[[0, 3], [1, 2, 4]]`, 10 and 10.

    Returns:
        Item indices of each bin, dearest bin first. Bins are empty only when there are fewer items than bins.
    """
    cheapest = [(0.0, number) for number in range(bins)]
    contents: list[list[int]] = [[] for _ in range(bins)]
    for item in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
        cost, number = cheapest[0]
        contents[number].append(item)
        heapq.heapreplace(cheapest, (cost + costs[item], number))
    return [sorted(contents[number]) for _, number in sorted(cheapest, key=lambda entry: (-entry[0], entry[1]))]


class BalancedPlan:
    """A `Plan` for `StepSampler`: rows of a step to `[micro_step][rank] -> rows`."""

    def __init__(self, costs: Sequence[float], *, micro_steps: int) -> None:
        """
        Args:
            costs: of every row of the data set, in any unit.
            micro_steps: of every optimiser step; fixed for a run (`gradient_accumulation_steps`).
        """
        self.costs = costs
        self.micro_steps = micro_steps

    def __call__(self, rows: Sequence[int], world_size: int) -> list[list[list[int]]]:
        costs = [self.costs[row] for row in rows]
        bins = balanced_plan(costs, world_size * self.micro_steps)
        return [
            [[rows[item] for item in content] for content in ranks] for ranks in _deal_to_ranks(bins, costs, world_size)
        ]


def _deal_to_ranks(bins: list[list[int]], costs: Sequence[float], world_size: int) -> list[list[list[int]]]:
    """Bins, dearest first, to micro-steps of similar cost; in each, the dearest goes to the rank with least so far.

    Sharded runs wait for each other in every micro-step, plain data parallel ones only at the end of a step:
    similar bins together serve the first, equal totals the second.
    """
    totals = [0.0] * world_size
    micro_steps = []
    for start in range(0, len(bins), world_size):
        group = bins[start : start + world_size]
        ranks: list[list[int]] = [[] for _ in range(world_size)]
        for content, rank in zip(group, sorted(range(world_size), key=lambda r: (totals[r], r)), strict=True):
            ranks[rank] = content
            totals[rank] += sum(costs[item] for item in content)
        micro_steps.append(ranks)
    return micro_steps


def micro_steps_for(
    steps: Iterable[Sequence[int]],
    costs: Sequence[float],
    sizes: Sequence[int],
    *,
    world_size: int,
    tokens_per_device: int,
) -> int:
    """The fewest micro-steps with which no device ever holds more than `tokens_per_device` tokens.

    A pair that is longer than that all by itself gets a bin of its own and is trained on.

    Args:
        steps: the rows of every optimiser step of the run.
        costs, sizes: cost and tokens of every row of the data set.
    """
    columns = [([costs[row] for row in rows], [sizes[row] for row in rows]) for rows in steps]
    dearest = max((sum(min(size, tokens_per_device) for size in step) for _, step in columns), default=1)
    micro_steps = math.ceil(dearest / (world_size * tokens_per_device))
    while not all(_fits(*column, world_size * micro_steps, tokens_per_device) for column in columns):
        micro_steps += 1
    return micro_steps


def _fits(costs: Sequence[float], sizes: Sequence[int], bins: int, limit: int) -> bool:
    plan = balanced_plan(costs, bins)
    return all(len(content) == 1 or sum(sizes[item] for item in content) <= limit for content in plan)
