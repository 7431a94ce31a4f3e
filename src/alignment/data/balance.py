"""The same pairs an optimizer step, dealt out so that no rank waits for another and none runs out of memory.

A step's pairs go into `world x micro-steps` bins, one packed row each. Longest processing time first (Graham 1969)
keeps the bins' costs within a percent or two of each other, where a random deal of real lengths wastes a quarter
of the machine. The number of micro-steps of each step follows from how many tokens a device may hold.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Sequence


def balanced_plan(costs: Sequence[float], bins: int) -> list[list[int]]:
    """Deal items to bins: most expensive first, each to the bin that is cheapest so far.

    With costs `[7, 5, 4, 3, 1]` and two bins: 7 | 5, then 4 to 5, 3 to 7, 1 to 9: `[[0, 3], [1, 2, 4]]`, 10 and 10.

    Returns:
        Item indices of each bin, most expensive bin first. Bins are empty only when there are fewer items than bins.
    """
    cheapest = [(0.0, number) for number in range(bins)]
    contents: list[list[int]] = [[] for _ in range(bins)]
    for item in sorted(range(len(costs)), key=lambda i: (-costs[i], i)):
        cost, number = cheapest[0]
        contents[number].append(item)
        heapq.heapreplace(cheapest, (cost + costs[item], number))
    return [sorted(contents[number]) for _, number in sorted(cheapest, key=lambda entry: (-entry[0], entry[1]))]


class BalancedPlan:
    """A `Plan` for `WholeStepSampler`: rows of a step to `[micro_step][rank] -> rows`, in as few micro-steps as fit."""

    def __init__(self, costs: Sequence[float], sizes: Sequence[int], *, tokens_per_device: int) -> None:
        """
        Args:
            costs: of every row of the data set, in any unit.
            sizes: tokens of every row of the data set.
            tokens_per_device: tokens that no bin exceeds, unless a single row does.
        """
        self.costs = costs
        self.sizes = sizes
        self.tokens_per_device = tokens_per_device

    def __call__(self, rows: Sequence[int], world_size: int) -> list[list[list[int]]]:
        costs, sizes = [self.costs[row] for row in rows], [self.sizes[row] for row in rows]
        bins = fewest_bins(costs, sizes, world_size=world_size, limit=self.tokens_per_device)
        return [
            [[rows[item] for item in content] for content in ranks] for ranks in _deal_to_ranks(bins, costs, world_size)
        ]


def _deal_to_ranks(bins: list[list[int]], costs: Sequence[float], world_size: int) -> list[list[list[int]]]:
    """Bins, most expensive first, to micro-steps of similar cost; in each, they go to the ranks with least so far.

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


def fewest_bins(costs: Sequence[float], sizes: Sequence[int], *, world_size: int, limit: int) -> list[list[int]]:
    """Balanced bins, `world_size` for each of as few micro-steps as keep every bin within `limit` tokens.

    An item that is larger than that all by itself gets a bin of its own.
    """
    least = math.ceil(sum(min(size, limit) for size in sizes) / (world_size * limit))
    for micro_steps in itertools.count(max(1, least)):
        bins = balanced_plan(costs, world_size * micro_steps)
        if all(len(content) <= 1 or sum(sizes[item] for item in content) <= limit for content in bins):
            return bins
    raise AssertionError("a bin for every item always fits")


def machine_cost(plan: Sequence[Sequence[Sequence[int]]], costs: Sequence[float], *, lock_step: bool) -> float:
    """What a step costs all ranks together, waiting included, in the unit of `costs`.

    Args:
        plan: `[micro_step][rank] -> rows`.
        costs: of every row of the data set.
        lock_step: ranks wait for each other in every micro-step (sharded runs), not only at the end of the step.
    """
    totals = [[sum(costs[row] for row in rows) for rows in ranks] for ranks in plan]
    slowest = sum(map(max, totals)) if lock_step else max(map(sum, zip(*totals, strict=True)))
    return len(totals[0]) * slowest
