"""The plan of a whole run: micro-steps, layers from the largest micro-batch, and what to say about waiting."""

from __future__ import annotations

import pytest
from test_balance import GEMMA2_9B, realistic_lengths

from alignment.modeling.flops import forward_flops
from alignment.trainers.packing_plan import fitted
from alignment.trainers.step_plan import Workload, deal, waiting_advice


def workload(batch: int, steps: int = 40, *, lock_step: bool = True) -> Workload:
    lengths = realistic_lengths(batch * steps)
    return Workload(
        steps=[range(start, start + batch) for start in range(0, len(lengths), batch)],
        costs=[forward_flops(GEMMA2_9B, pair) for pair in lengths],
        sizes=[sum(pair) for pair in lengths],
        lock_step=lock_step,
    )


def test_a_deal_worked_by_hand():
    """Two ranks of 10 tokens: 6 + 3 beside 5 + 4, then 8 beside 7 + 2: 35 tokens in the time of 36."""
    sizes = [6, 4, 5, 3, 8, 7, 2]
    given = Workload(steps=[[0, 1, 2, 3], [4, 5, 6]], costs=sizes, sizes=sizes, lock_step=True)
    dealt = deal(given, world_size=2, tokens=10)
    assert (dealt.fewest, dealt.most, dealt.micro_steps, dealt.largest) == (1, 1, 2, 9)
    assert dealt.machine == 2 * 9 + 2 * 9
    assert dealt.waiting == pytest.approx(1 - 35 / 36)
    assert deal(given, world_size=1, tokens=10).most == 2


def test_micro_batches_are_full():
    """Two micro-steps for some steps, three for others: three for all would fill 8,700 tokens to 61 %."""
    given = workload(128)
    dealt = deal(given, world_size=8, tokens=8700)
    assert (dealt.fewest, dealt.most) == (2, 3) and dealt.largest <= 8700
    fill = sum(given.sizes) / (8 * 8700)
    assert fill / dealt.micro_steps > 0.8
    assert fill / (dealt.most * len(given.steps)) < 0.65


def test_layers_follow_from_the_largest_micro_batch():
    """A layer more is needed for every 500 tokens beyond 6,500; a budget of 8,365 was planned with 4."""
    given = workload(128, steps=10)

    def need(tokens: int) -> int:
        return max(0, -(-(tokens - 6500) // 500))

    dealt = deal(given, world_size=8, tokens=8365)
    budget, same = fitted(given, dealt, GEMMA2_9B, world_size=8, need=need, unchecked=0)
    assert same == dealt and budget.tokens == 8365
    assert budget.checkpointed_layers == need(dealt.largest)

    def all_or_none(tokens: int) -> int:
        return 42 * (tokens > 6500)

    dear = fitted(given, dealt, GEMMA2_9B, world_size=8, need=all_or_none, unchecked=6500)
    assert dear[0].tokens == 6500 and dear[0].checkpointed_layers == 0 and dear[1].largest <= 6500


@pytest.mark.parametrize(("batch", "ranks", "told"), [(128, 8, False), (1024, 64, False), (128, 64, True)])
def test_few_pairs_a_rank_are_told_with_what_would_help(batch: int, ranks: int, told: bool):
    given = workload(batch)
    dealt = deal(given, world_size=ranks, tokens=8192)
    advice = waiting_advice(given, world_size=ranks, tokens=8192, waiting=dealt.waiting)
    assert (advice is not None) == told
    if advice is not None:
        assert dealt.waiting > 0.3
        assert f"{dealt.waiting:.0%} of their time waiting for each other: 128 pairs on 64 ranks are 2 a rank" in advice
        assert "global_batch_size 256 would lower that to 5%" in advice
        assert "32 ranks would wait 5%" in advice
