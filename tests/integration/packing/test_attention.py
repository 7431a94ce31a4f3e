"""The layout of a packed row, the backends' recipes against dense attention, and the choice among them."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial

import pytest
import torch
from packing_models import CONFIGS, build, packed, random_pairs

from alignment.data.packed_batches import PackedPreferenceCollator
from alignment.errors import SetupError
from alignment.modeling.attention import (
    BACKENDS,
    Machine,
    Needs,
    Scores,
    SharedPrompts,
    choose_backend,
    flash,
    flex,
    needs_of,
    probe,
    segments,
    this_machine,
)
from alignment.modeling.attention.probe import choose_proven_backend, fault_of
from alignment.modeling.packed_forward import WithLayoutIndices, check_speed, packed_logps, prepare_for_packing

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
    assert layout.pair_ids.tolist() == [0, 0, 0, 0, 0, 1, 1, 1]
    assert layout.roles.tolist() == [0, 0, 1, 1, 2, 0, 1, 2]
    assert layout.bounds.tolist() == [[0, 5], [2, 6], [4, 7]]
    assert [source.tolist() for source in layout.key_sources] == [[0, 1, 2, 3, 6, 7, 8, 10], [0, 1, 5], [4, 5, 9]]


def test_a_layout_built_in_the_collator_is_the_layout_built_in_the_model():
    batch = WithLayoutIndices(PackedPreferenceCollator())(random_pairs(4))
    lengths, indices = batch["pair_lengths"], batch["layout_indices"]
    own, given = SharedPrompts(lengths, CPU), SharedPrompts(lengths, CPU, indices)
    assert given.key_index.untyped_storage().data_ptr() == indices.untyped_storage().data_ptr()
    for name in ("key_index", "positions", "pair_ids", "roles", "bounds", "cu_queries", "cu_keys"):
        assert torch.equal(getattr(given, name), getattr(own, name)), name


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
        (GEMMA2, Machine(device="cuda", capability=(10, 0), installed={"flash_attention_4": ()}), "flex_flash"),
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
        ("kernels-community/flash-attn2", LLAMA, hopper(), "the package `kernels` is not installed"),
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


# -- packages that are there and do not work


def packages(tmp_path, monkeypatch, files: dict[str, str]) -> None:
    """Stand-ins on the import path, before anything that is really installed."""
    for name, source in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0].startswith("flash_attn")]:
        monkeypatch.delitem(sys.modules, name)


KERNEL = """
from test_attention import exact_varlen_kernel as flash_attn_varlen_func
"""
BROKEN = 'raise ImportError("undefined symbol: _ZN3c104cuda9SetDeviceEa")'


@pytest.mark.parametrize(
    ("files", "seen"),
    [
        ({}, set()),
        ({"flash_attn/cute/__init__.py": KERNEL}, {"flash_attention_4"}),
        ({"flash_attn/README": ""}, set()),
        ({"flash_attn/__init__.py": BROKEN, "flash_attn/flash_attn_interface.py": KERNEL}, {"flash_attention_2"}),
        ({"flash_attn_interface.py": KERNEL}, {"flash_attention_3"}),
    ],
    ids=["nothing", "flash-attn-4 alone", "an empty namespace", "a broken flash-attn", "flash-attn-3"],
)
def test_what_is_installed_is_seen_without_importing_it(tmp_path, monkeypatch, files, seen):
    packages(tmp_path, monkeypatch, files)
    assert set(this_machine(CPU).installed) == seen


@pytest.fixture
def probing_on_cpu(monkeypatch):
    """The choice that a GPU would make, with the probes computed here: only the device's name and age are pretended."""
    monkeypatch.setattr(probe, "fault_of", lambda attend, needs, device: fault_of(attend, needs, CPU))
    monkeypatch.setattr(flex, "has_flash", lambda: False)
    monkeypatch.setitem(BACKENDS, "flex_attention", lambda needs, machine: "is left out of this test")

    def choose(requested: str | None = None) -> str:
        machine = replace(this_machine(CPU), device="cuda", capability=(9, 0))
        return choose_proven_backend(replace(LLAMA, head_dim=16), machine, torch.device("cuda"), requested)

    return choose


@pytest.mark.parametrize(
    ("files", "chosen", "told"),
    [
        ({"flash_attn/cute/__init__.py": KERNEL}, "flash_attention_4", ""),
        (
            {"flash_attn/__init__.py": BROKEN, "flash_attn/flash_attn_interface.py": KERNEL},
            "segments",
            "flash_attention_2 is passed over: it cannot be imported: undefined symbol",
        ),
        (
            {"flash_attn/cute/__init__.py": ""},
            "segments",
            "flash_attention_4 is passed over: it cannot be imported: module 'flash_attn.cute' has no attribute",
        ),
        (
            {"flash_attn_interface.py": BROKEN, "flash_attn/cute/__init__.py": KERNEL},
            "flash_attention_4",
            "flash_attention_3 is passed over: it cannot be imported: undefined symbol",
        ),
    ],
    ids=["flash-attn-4 alone", "a broken flash-attn", "no such function", "the next one serves"],
)
def test_a_package_that_cannot_serve_is_passed_over_with_the_reason(
    tmp_path, monkeypatch, caplog, probing_on_cpu, files, chosen, told
):
    packages(tmp_path, monkeypatch, files)
    assert probing_on_cpu() == chosen
    assert told in caplog.text


def test_a_broken_package_that_was_asked_for_is_refused(tmp_path, monkeypatch, probing_on_cpu):
    packages(tmp_path, monkeypatch, {"flash_attn_interface.py": BROKEN})
    with pytest.raises(SetupError, match="flash_attention_3 cannot be imported: undefined symbol"):
        probing_on_cpu("flash_attention_3")


def test_a_kernel_of_the_hub_serves_by_its_name(tmp_path, monkeypatch, probing_on_cpu):
    """As the `kernels` package offers it: `get_kernel(repository)` gives a module."""
    packages(
        tmp_path,
        monkeypatch,
        {"kernels.py": f"{KERNEL}\nimport sys\n\ndef get_kernel(repository): return sys.modules[__name__]"},
    )
    assert probing_on_cpu("kernels-community/flash-attn2") == "kernels-community/flash-attn2"


# -- a large model without a kernel


def test_a_large_model_on_a_gpu_does_without_a_kernel_only_if_it_is_asked_to():
    cuda = torch.device("cuda")
    with pytest.raises(SetupError, match=r"allow_slow_attention.*9.2B weights.*make install-flash"):
        check_speed("segments", cuda, weights=9_240_000_000)
    check_speed("segments", cuda, weights=494_000_000)
    check_speed("segments", CPU, weights=9_240_000_000)
    check_speed("flex_attention", cuda, weights=9_240_000_000)


# -- one precision


@pytest.mark.parametrize("name", ["gemma2", "qwen3", "llama"])
def test_one_dtype_of_16_bits_reaches_the_backend_of_fp32_weights_under_autocast(name):
    model, seen = build(name), set()
    prepare_for_packing(model, dtype=torch.bfloat16)
    own = model.base_model._packed_attention

    def attend(query, key, value, layout, scores):
        seen.add((query.dtype, key.dtype, value.dtype))
        return own(query, key, value, layout, scores)

    model.base_model._packed_attention = attend
    with torch.autocast("cpu", torch.bfloat16):
        packed_logps(model, packed(random_pairs(3))).sums.sum().backward()
    assert seen == {(torch.bfloat16,) * 3}
