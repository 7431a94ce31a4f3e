"""The layout of a packed row, the backends' recipes against dense attention, and the choice among them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch
from packing_models import CONFIGS, random_pairs

from alignment.data.packing import PackedPreferenceCollator
from alignment.errors import SetupError
from alignment.modeling.attention import (
    Machine,
    Needs,
    Scores,
    SharedPrompts,
    choose_backend,
    flash,
    flex,
    needs_of,
    segments,
)
from alignment.modeling.attention.probe import fault_of

LENGTHS = [(1, 1, 1), (3, 2, 4), (7, 1, 2), (4, 3, 0), (2, 9, 5)]
CPU = torch.device("cpu")


def test_the_batch_of_two_pairs_worked_by_hand():
    pairs = [
        {"prompt_ids": [5, 6], "chosen_ids": [7, 8], "rejected_ids": [9], "weight": 1.0, "index": 3},
        {"prompt_ids": [4], "chosen_ids": [7], "rejected_ids": [8], "weight": 0.0, "index": 1},
    ]
    batch = PackedPreferenceCollator()(pairs)
    lengths = batch.pop("pair_lengths")
    assert lengths == [(2, 2, 1), (1, 1, 1)]
    assert {name: tensor.tolist() for name, tensor in batch.items()} == {
        "input_ids": [[5, 6, 7, 8, 9, 4, 7, 8]],
        "position_ids": [[0, 1, 2, 3, 2, 0, 1, 1]],
        "predictor_index": [1, 2, 5, 1, 5],
        "targets": [7, 8, 7, 9, 8],
        "target_rows": [0, 0, 1, 2, 3],
        "weight": [1.0, 0.0],
        "index": [3, 1],
    }
    layout = SharedPrompts(lengths, CPU)
    assert layout.cu_queries.tolist() == [0, 4, 5, 7, 8]
    assert layout.cu_keys.tolist() == [0, 4, 7, 9, 11]
    assert layout.key_index.tolist() == [0, 1, 2, 3, 0, 1, 4, 5, 6, 5, 7]
    assert layout.positions.tolist() == batch["position_ids"][0].tolist()


@pytest.mark.parametrize("empty", ["prompt_ids", "chosen_ids", "rejected_ids"])
def test_an_empty_part_is_an_error_that_names_the_row(empty):
    pair = {**random_pairs(1)[0], empty: [], "index": 17}
    with pytest.raises(ValueError, match="row 17"):
        PackedPreferenceCollator()([pair])


def dense(query, key, value, *, scale, softcap, window):
    """Attention over the whole row with a `T x T` mask, spelled out token by token."""
    token = [(pair, role) for pair, n in enumerate(LENGTHS) for role in range(3) for _ in range(n[role])]
    positions = [p for p, c, r in LENGTHS for p in (*range(p + c), *range(p, p + r))]

    def sees(q: int, k: int) -> bool:
        (pair, role), (other, key_role) = token[q], token[k]
        near = window is None or positions[q] - positions[k] < window
        return k <= q and pair == other and near and not (role == 2 and key_role == 1)

    mask = torch.tensor([[sees(q, k) for k in range(len(token))] for q in range(len(token))])
    key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], 1) for x in (key, value))
    scores = torch.einsum("qhd,khd->hqk", query, key) * scale
    scores = scores if softcap is None else softcap * torch.tanh(scores / softcap)
    return torch.einsum("hqk,khd->qhd", scores.masked_fill(~mask, float("-inf")).softmax(-1), value), mask


def exact_varlen_kernel(
    q, k, v, *, cu_seqlens_q, cu_seqlens_k, max_seqlen_q, max_seqlen_k, softmax_scale, causal, window_size, softcap
):
    """What FlashAttention documents for `flash_attn_varlen_func`, in plain torch: signature, mask and soft-cap."""
    out = []
    for i in range(len(cu_seqlens_q) - 1):
        qi = q[cu_seqlens_q[i] : cu_seqlens_q[i + 1]]
        ki, vi = (x[cu_seqlens_k[i] : cu_seqlens_k[i + 1]] for x in (k, v))
        assert causal and len(qi) <= max_seqlen_q and len(ki) <= max_seqlen_k
        ki, vi = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (ki, vi))
        scores = torch.einsum("qhd,khd->hqk", qi, ki) * softmax_scale
        scores = softcap * torch.tanh(scores / softcap) if softcap else scores
        own = torch.arange(len(qi))[:, None] + len(ki) - len(qi)
        keys = torch.arange(len(ki))
        left = window_size[0] if window_size[0] not in (-1, None) else len(ki)
        visible = (keys <= own) & (keys >= own - left)
        out.append(torch.einsum("hqk,khd->qhd", scores.masked_fill(~visible, float("-inf")).softmax(-1), vi))
    return torch.cat(out)


flash_recipe = partial(flash.attend_with, exact_varlen_kernel, -1)


@pytest.mark.parametrize("softcap", [None, 1.5])
@pytest.mark.parametrize("window", [None, 1, 4])
@pytest.mark.parametrize("attend", [segments.attend, flash_recipe], ids=["segments", "flash recipe"])
def test_backends_equal_dense_attention(attend, window, softcap):
    layout = SharedPrompts(LENGTHS, CPU)
    shapes = [(layout.tokens, 6, 8), (layout.tokens, 2, 8), (layout.tokens, 2, 8)]
    qkv = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    outer = torch.randn(shapes[0], dtype=torch.float64)
    options = {"scale": 0.4, "softcap": softcap, "window": window}
    expected, _ = dense(*qkv, **options)
    found = attend(*qkv, layout, Scores(**options))
    assert torch.allclose(found, expected, atol=1e-12)
    expected_grads = torch.autograd.grad((expected * outer).sum(), qkv)
    for mine, theirs in zip(torch.autograd.grad((found * outer).sum(), qkv), expected_grads, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-12)


@pytest.mark.parametrize("window", [None, 1, 4])
def test_the_flex_mask_equals_the_mask_spelled_out(window):
    layout = SharedPrompts(LENGTHS, CPU)
    x = torch.zeros(layout.tokens, 1, 1)
    _, expected = dense(x, x, x, scale=1.0, softcap=None, window=window)
    rows = torch.arange(layout.tokens)
    assert torch.equal(flex.mask_of(layout, window)(None, None, rows[:, None], rows[None, :]), expected)


# -- the choice


def hopper(**installed):
    return Machine(device="cuda", capability=(9, 0), installed=installed)


GEMMA2 = Needs(head_dim=256, dtype=torch.bfloat16, softcap=50.0)
LLAMA = Needs(head_dim=128, dtype=torch.bfloat16)
ALL = {"flash_attention_2": (2, 8), "flash_attention_3": (3, 0), "flash_attention_4": (4, 0)}


@pytest.mark.parametrize(
    ("needs", "machine", "chosen"),
    [
        (GEMMA2, Machine(device="cpu", installed=ALL), "segments"),
        (GEMMA2, hopper(), "flex_attention"),
        (GEMMA2, hopper(**ALL), "flash_attention_3"),
        (GEMMA2, hopper(flash_attention_2=(2, 8)), "flash_attention_2"),
        (GEMMA2, hopper(flash_attention_2=(2, 5)), "flex_attention"),
        (LLAMA, hopper(flash_attention_2=(2, 5)), "flex_attention"),
        (LLAMA, hopper(flash_attention_2=()), "flash_attention_2"),
        (GEMMA2, Machine(device="cuda", capability=(8, 0), installed=ALL), "flash_attention_2"),
        (GEMMA2, Machine(device="cuda", capability=(10, 0), installed={"flash_attention_4": ()}), "flex_attention"),
        (LLAMA, Machine(device="cuda", capability=(10, 0), installed={"flash_attention_4": ()}), "flash_attention_4"),
        (Needs(head_dim=128, dtype=torch.float32), hopper(**ALL), "flex_attention"),
        (Needs(head_dim=320, dtype=torch.bfloat16), hopper(**ALL), "flex_attention"),
    ],
)
def test_the_best_backend_that_computes_the_same_is_chosen(needs, machine, chosen):
    assert choose_backend(needs, machine) == chosen
    assert choose_backend(needs, machine, "eager") == chosen


@pytest.mark.parametrize(
    ("requested", "needs", "machine", "reason"),
    [
        ("sdpa", GEMMA2, hopper(**ALL), "drops this model's attention soft-cap of 50"),
        (
            "flash_attention_2",
            GEMMA2,
            hopper(flash_attention_2=(2, 5)),
            "is 2.5 here, and before 2.6",
        ),
        ("flash_attention_2", LLAMA, hopper(), "is not installed"),
        ("flash_attention_2", LLAMA, Machine(device="cpu", installed=ALL), "needs a CUDA device"),
        ("flash_attention_3", Needs(head_dim=64, dtype=torch.float32), hopper(**ALL), "fp16 and bf16 only"),
        ("flex_attention", LLAMA, Machine(device="cpu", installed={}), "no backward pass on a CPU"),
        ("paged|sdpa", LLAMA, hopper(), "no backend of packed rows"),
    ],
)
def test_a_request_that_would_compute_something_else_is_refused_with_the_reason(requested, needs, machine, reason):
    with pytest.raises(SetupError, match=reason):
        choose_backend(needs, machine, requested)


def test_a_request_is_an_order():
    assert choose_backend(LLAMA, hopper(**ALL), "flex_attention") == "flex_attention"


def test_what_a_configuration_asks_for():
    narrow = needs_of(CONFIGS["gemma2, narrow"], torch.float32, longest=6)
    assert (narrow.head_dim, narrow.softcap, narrow.window) == (16, 2.0, 5)
    assert needs_of(CONFIGS["gemma2, narrow"], torch.float32, longest=5).window is None
    assert needs_of(CONFIGS["qwen2"], torch.float32).window is None


# -- the probe


@pytest.mark.parametrize("attend", [segments.attend, flash_recipe], ids=["segments", "flash recipe"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_right_kernel_passes_its_probe(attend, dtype):
    assert fault_of(attend, Needs(head_dim=16, dtype=dtype, softcap=5.0, window=9), CPU) is None


@pytest.mark.parametrize(
    ("broken", "needs"),
    [
        ({"softcap": None}, Needs(head_dim=16, dtype=torch.bfloat16, softcap=5.0)),
        ({"window": None}, Needs(head_dim=16, dtype=torch.bfloat16, window=9)),
        ({"scale": 0.3}, Needs(head_dim=16, dtype=torch.float32)),
    ],
    ids=["drops the soft-cap", "drops the window", "another scale"],
)
def test_a_wrong_kernel_is_found_out(broken, needs):
    def attend(query, key, value, layout, scores):
        return segments.attend(query, key, value, layout, replace(scores, **broken))

    assert "is off by" in fault_of(attend, needs, CPU)


def test_a_kernel_that_fails_says_how():
    def attend(*_):
        raise RuntimeError("no kernel image is available\nmore")

    assert fault_of(attend, LLAMA, CPU) == "fails here: no kernel image is available"
