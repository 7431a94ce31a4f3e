"""The pairs of a step are the same on every number of ranks."""

from __future__ import annotations

import pytest

from alignment.data.sampler import PairDataset, StepSampler, even_plan


def batches(rank: int = 0, world: int = 1, micro: int = 2, **changes):
    settings = {"num_rows": 22, "global_batch_size": 8, "seed": 42, **changes}
    return list(StepSampler(plan=even_plan(micro), world_size=world, rank=rank, **settings))


def steps(world: int, micro: int) -> list[list[int]]:
    """Rows of each step, put together from what the ranks of a run would see."""
    ranks = [batches(rank, world, micro) for rank in range(world)]
    assert len({len(rank) for rank in ranks}) == 1, "every rank takes part in every micro-step"
    rows: list[list[int]] = [[], [], []]
    seen = 0
    for micro_step in zip(*ranks, strict=True):
        rows[min(seen // 8, 2)] += [row for batch in micro_step for row, weight in batch if weight]
        seen = sum(map(len, rows))
    return [sorted(step) for step in rows]


@pytest.mark.parametrize(("world", "micro"), [(1, 1), (1, 8), (2, 1), (2, 2), (2, 4), (4, 1), (4, 2), (8, 1)])
def test_world_size_and_micro_batch_do_not_change_a_steps_pairs(world, micro):
    assert steps(world, micro) == steps(1, 2)
    assert sorted(row for step in steps(world, micro) for row in step) == list(range(22))


def test_a_rank_without_rows_gets_a_filler_of_weight_zero():
    # 22 rows leave 6 for the last step: chunks of 4 and 2 for ranks 0 and 1, none for ranks 2 and 3.
    last = [batches(rank, world=4, micro=4, global_batch_size=16)[-1] for rank in range(4)]
    assert [[weight for _, weight in batch] for batch in last] == [[1, 1, 1, 1], [1, 1], [0], [0]]


def test_length_counts_what_is_yielded():
    for world, micro, drop in [(1, 2, False), (2, 2, False), (4, 4, False), (2, 4, True), (1, 8, True)]:
        sampler = StepSampler(
            num_rows=22, global_batch_size=8, plan=even_plan(micro), world_size=world, rank=0, drop_last=drop
        )
        assert len(sampler) == len(list(sampler))


def test_epochs_differ_and_repeat():
    sampler = StepSampler(num_rows=22, global_batch_size=8, plan=even_plan(2), seed=42)
    first, again = list(sampler), list(sampler)
    sampler.set_epoch(1)
    assert first == again
    assert list(sampler) != first


def test_rows_carry_index_and_weight():
    assert PairDataset([{"prompt_ids": [1]}, {"prompt_ids": [2]}])[(1, 0.0)] == {
        "prompt_ids": [2],
        "index": 1,
        "weight": 0.0,
    }
