"""Dealing a step's pairs to ranks and micro-steps."""

from __future__ import annotations

import math
import random

import pytest

from alignment.data.balance import BalancedPlan, balanced_plan, fewest_bins, machine_cost
from alignment.modeling.flops import Geometry, forward_flops

GEMMA2_9B = Geometry(layers=42, hidden=3584, heads=16, kv_heads=8, head_dim=256, intermediate=14336, vocabulary=256_000)


def realistic_lengths(count: int, seed: int = 0) -> list[tuple[int, int, int]]:
    """Prompts log-normal with mean about 206, completions about 397 tokens and alike within a pair (r = 0.85)."""
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        prompt = min(1800, max(16, int(math.exp(rng.gauss(math.log(200) - 0.605, 1.1))) + 12))
        shared = rng.gauss(0, 1)
        sides = [0.85**0.5 * shared + 0.15**0.5 * rng.gauss(0, 1) for _ in range(2)]
        completions = [max(8, int(math.exp(math.log(400) - 0.15 + 0.55 * side))) for side in sides]
        rows.append((prompt, *(min(n, 2048 - prompt) for n in completions)))
    return rows


def test_worked_by_hand():
    assert balanced_plan([7, 5, 4, 3, 1], 2) == [[0, 3], [1, 2, 4]]
    assert balanced_plan([1, 9], 3) == [[1], [0], []]


def test_micro_steps_hold_similar_bins_and_ranks_equal_totals():
    """Bins of 8, 7, 6, 5 on two ranks: 8 beside 7, then 5 to the rank that had 8."""
    plan = BalancedPlan([8, 7, 6, 5], [8, 7, 6, 5], tokens_per_device=8)
    assert plan([0, 1, 2, 3], 2) == [[[0], [1]], [[3], [2]]]


@pytest.mark.parametrize("world", [1, 3, 8])
def test_every_pair_of_a_step_is_dealt_exactly_once(world):
    rows = random.Random(0).sample(range(500), 128)
    sizes = [1 + row % 37 for row in range(500)]
    micro_steps = BalancedPlan(sizes, sizes, tokens_per_device=150)(rows, world)
    assert {len(ranks) for ranks in micro_steps} == {world}
    assert sorted(row for ranks in micro_steps for bin_ in ranks for row in bin_) == sorted(rows)


def overhead(plan, rows, costs, world) -> tuple[float, float]:
    """Machine time over useful time when ranks wait for each other at every micro-step; or at every step."""
    useful = sum(costs[row] for row in rows)
    dealt = plan(rows, world)
    return tuple(machine_cost(dealt, costs, lock_step=lock_step) / useful - 1 for lock_step in (True, False))


def test_the_cost_of_waiting_worked_by_hand():
    """Two micro-steps on two ranks: (8, 6) and (3, 4). In lock-step 8 + 4; else the ranks' 11 and 10."""
    costs = [8, 6, 3, 4]
    plan = [[[0], [1]], [[2], [3]]]
    assert machine_cost(plan, costs, lock_step=True) == 2 * 12
    assert machine_cost(plan, costs, lock_step=False) == 2 * 11


@pytest.mark.parametrize(("world", "step", "tokens"), [(8, 128, 24000), (8, 128, 8192), (64, 1024, 8192)])
def test_waiting_costs_less_than_two_percent(world, step, tokens):
    lengths = realistic_lengths(40 * step)
    costs, sizes = [forward_flops(GEMMA2_9B, pair) for pair in lengths], [sum(pair) for pair in lengths]
    plan = BalancedPlan(costs, sizes, tokens_per_device=tokens)
    measured = [overhead(plan, range(start, start + step), costs, world) for start in range(0, len(costs), step)]
    every_micro_step, every_step = (sum(column) / len(measured) for column in zip(*measured, strict=True))
    assert every_step <= every_micro_step + 1e-9
    assert every_micro_step < 0.02


def test_a_random_deal_wastes_a_quarter():
    """Negative control: the lengths are uneven enough for balance to matter."""
    costs = [forward_flops(GEMMA2_9B, pair) for pair in realistic_lengths(128 * 40)]

    def as_they_come(rows, world):
        return [[list(rows[2 * r + 16 * k : 2 * r + 16 * k + 2]) for r in range(world)] for k in range(8)]

    measured = [overhead(as_they_come, range(s, s + 128), costs, 8)[0] for s in range(0, len(costs), 128)]
    assert sum(measured) / len(measured) > 0.2


@pytest.mark.parametrize("limit", [4096, 8192, 16384])
def test_no_device_ever_holds_more_tokens_than_it_may(limit):
    lengths = realistic_lengths(128 * 30, seed=1)
    costs, sizes = [forward_flops(GEMMA2_9B, pair) for pair in lengths], [sum(pair) for pair in lengths]
    steps = [range(start, start + 128) for start in range(0, len(costs), 128)]
    plan = BalancedPlan(costs, sizes, tokens_per_device=limit)
    for rows in steps:
        dealt = plan(rows, 8)
        assert max(sum(sizes[row] for row in bin_) for ranks in dealt for bin_ in ranks) <= limit
        assert len(dealt) <= math.ceil(1.25 * sum(sizes[row] for row in rows) / (8 * limit))


def test_each_step_takes_as_many_micro_steps_as_it_needs():
    """A budget of 10 on one rank: 4 + 6 fit at once, 8 and 7 do not, and 5 + 5 + 5 need two."""
    sizes = [4, 6, 8, 7, 5, 5, 5]
    plan = BalancedPlan(sizes, sizes, tokens_per_device=10)
    assert [len(plan(rows, 1)) for rows in ([0, 1], [2, 3], [4, 5, 6])] == [1, 2, 2]


def test_a_pair_longer_than_the_budget_is_trained_on_by_itself():
    sizes = [900, 100, 100, 100]
    assert fewest_bins(sizes, sizes, world_size=1, limit=400) == [[0], [1, 2, 3]]
    assert BalancedPlan(sizes, sizes, tokens_per_device=400)(range(4), 1) == [[[0]], [[1, 2, 3]]]


def test_flops_of_gemma_2_9b():
    """16.65e9 a token, 1.835e9 a completion token, 0.688e6 a (query, key) pair; head 0.918e9 weights."""
    prompt, chosen, rejected = 200, 400, 300
    seen = 200 * 201 / 2 + 400 * 401 / 2 + 300 * 301 / 2 + 200 * 700
    expected = 16.65e9 * 900 + 1.835e9 * 700 + 0.688e6 * seen
    assert forward_flops(GEMMA2_9B, (prompt, chosen, rejected)) == pytest.approx(expected, rel=1e-3)
