"""FlexAttention: its mask, and what the compiler makes of it in training; a CPU can trace all but the kernel itself."""

from __future__ import annotations

import random

import pytest
import torch
from torch._dynamo.utils import counters
from torch.nn.attention import flex_attention

from alignment.modeling.attention import Scores, SharedPrompts, flex, segments

CPU = torch.device("cpu")


def random_layout(seed: int) -> SharedPrompts:
    dice = random.Random(seed)
    lengths = [tuple(dice.randint(1, 120) for _ in range(3)) for _ in range(dice.randint(1, 4))]
    return SharedPrompts([(40, 20, 70), *lengths, (33, 20, 0)], CPU)


@pytest.mark.parametrize("block", [64, 128])
@pytest.mark.parametrize("window", [None, 1, 50, 130])
def test_blocks_counted_from_lengths_are_those_of_the_whole_mask(block, window):
    for seed in range(3):
        layout = random_layout(seed)
        expected = flex_attention.create_block_mask(
            flex.mask_of(layout, window), None, None, layout.tokens, layout.tokens, device="cpu", BLOCK_SIZE=block
        )
        found = flex._block_mask(layout, window, block)
        for name in (
            "kv_num_blocks",
            "kv_indices",
            "full_kv_num_blocks",
            "full_kv_indices",
            "q_num_blocks",
            "q_indices",
        ):
            assert torch.equal(getattr(found, name), getattr(expected, name)), name


@pytest.mark.parametrize("window", [None, 1, 4])
def test_every_visible_pair_is_counted(window):
    layout = SharedPrompts([(1, 1, 1), (3, 2, 4), (7, 1, 2), (4, 3, 0), (2, 9, 5)], CPU)
    rows = torch.arange(layout.tokens)
    mask = flex.mask_of(layout, window)(None, None, rows[:, None], rows[None, :])
    assert torch.equal(flex.visible_pairs(layout, window, 1), mask.long())


@pytest.fixture
def traced(monkeypatch):
    """The kernel as training compiles it, up to the operator, which a CPU then computes by PyTorch's own definition."""
    torch._dynamo.reset()
    counters.clear()
    monkeypatch.setattr(flex_attention, "_validate_device", lambda *_: None)
    graphs = []

    def keep(graph, _):
        graphs.append(graph)
        return graph.forward

    kernel = torch.compile(flex._run, backend=keep, dynamic=True, fullgraph=True)
    monkeypatch.setattr(flex, "_kernel", lambda: kernel)
    return graphs


def values(attend, layout: SharedPrompts, scores: Scores) -> list[torch.Tensor]:
    torch.manual_seed(layout.tokens)
    shapes = [(layout.tokens, heads, 16) for heads in (4, 2, 2, 4)]
    *qkv, outer = (torch.randn(shape) * 4 for shape in shapes)
    qkv = [x.requires_grad_() for x in qkv]
    out = attend(*qkv, layout, scores)
    return [out, *torch.autograd.grad(out, qkv, outer)]


def test_training_with_a_softcap_is_one_graph_a_mask_for_any_layout_and_evaluation_adds_none(traced):
    for seed in range(30):
        layout = random_layout(seed)
        for window in (None, 50):
            scores = Scores(scale=16**-0.5, softcap=50.0, window=window)
            found, expected = (values(attend, layout, scores) for attend in (flex.attend, segments.attend))
            for mine, theirs in zip(found, expected, strict=True):
                assert (mine - theirs).norm() < 1e-4 * theirs.norm()
            with torch.no_grad():
                query, key, value = (torch.randn(layout.tokens, heads, 16) for heads in (4, 2, 2))
                flex.attend(query, key, value, layout, scores)
    assert len(traced) == 2
    assert not counters["graph_break"]


def test_other_constants_are_constants_too(traced):
    """Two models in one process: the second value must not make a variable of the first."""
    for scale, softcap in ((0.25, 50.0), (0.3, 30.0), (0.25, None)):
        scores = Scores(scale=scale, softcap=softcap)
        found, expected = (values(attend, random_layout(1), scores) for attend in (flex.attend, segments.attend))
        assert torch.allclose(found[0], expected[0], atol=1e-5)
    assert len(traced) == 3
