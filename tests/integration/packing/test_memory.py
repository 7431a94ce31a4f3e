"""Planned bytes against the bytes that autograd keeps, and what of a GPU's memory is there to be planned."""

from __future__ import annotations

import copy

import pytest
import torch
from packing_models import CONFIGS, packed, random_pairs
from torch import nn
from transformers import AutoModelForCausalLM

from alignment.data.padded_batches import pair_lengths
from alignment.modeling import device_memory
from alignment.modeling.attention import segments
from alignment.modeling.attention.layout import repeat_prompts
from alignment.modeling.device_memory import BLOCK_BYTES, activation_memory, gathered_bytes, state_bytes
from alignment.modeling.flops import Geometry
from alignment.modeling.memory_plan import activation_bytes, score_bytes
from alignment.modeling.packed_forward import packed_logps, prepare_for_packing

CUDA = torch.device("cuda")


class _KernelThatSaves(torch.autograd.Function):
    """What FlashAttention's and FlexAttention's autograd functions save: inputs, output and fp32 normalizers."""

    @staticmethod
    def forward(ctx, query, key, value):
        out = torch.zeros_like(query)
        ctx.save_for_backward(query, key, value, out, query.new_zeros(query.shape[:2], dtype=torch.float32))
        return out

    @staticmethod
    def backward(ctx, grad):
        raise NotImplementedError


def flash_like(query, key, value, layout, scores):
    return _KernelThatSaves.apply(query, repeat_prompts(key, layout), repeat_prompts(value, layout))


def flex_like(query, key, value, layout, scores):
    groups = query.shape[1] // key.shape[1]
    if groups & (groups - 1):
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    return _KernelThatSaves.apply(query, key, value)


def kept_bytes(name: str, layers: int, attend, dtype: torch.dtype, batch) -> int:
    """Bytes of the storages that autograd keeps of a packed forward pass, parameters apart."""
    config = copy.deepcopy(CONFIGS[name])
    config.num_hidden_layers = layers
    if getattr(config, "layer_types", None):
        config.layer_types = (config.layer_types * layers)[:layers]
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").to(dtype).train()
    prepare_for_packing(model)
    model.base_model._packed_attention = attend
    parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = packed_logps(model, batch).sums.sum()
    assert loss.requires_grad
    return sum(tensor.untyped_storage().nbytes() for place, tensor in kept.items() if place not in parameters)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("name", ["gemma2", "llama", "smollm", "qwen3"])
@pytest.mark.parametrize(
    ("backend", "attend"),
    [("segments", segments.attend), ("flash_attention_2", flash_like), ("flex_attention", flex_like)],
    ids=["segments", "flash", "flex"],
)
def test_planned_bytes_cover_what_a_layer_keeps(backend, attend, name, dtype):
    pairs = random_pairs(6, longest=60)
    batch, lengths = packed(pairs), list(map(pair_lengths, pairs))
    two, four = (kept_bytes(name, layers, attend, dtype, batch) for layers in (2, 4))
    counted = (four - two) / 2 / batch["input_ids"].numel()
    geometry = Geometry.of(CONFIGS[name])
    planned = activation_bytes(geometry, dtype.itemsize, scores=score_bytes(backend, geometry, dtype.itemsize, lengths))
    assert counted <= planned <= 2.2 * counted


def test_scores_worked_by_hand():
    """Gemma-2-9B in bf16, a pair of 200 + 400 + 400: 600 x 600 and 400 x 600 scores over 1,000 tokens."""
    geometry = Geometry(
        layers=42, hidden=3584, heads=16, kv_heads=8, head_dim=256, intermediate=14336, vocabulary=256_000
    )
    scored = (600 * 600 + 400 * 600) / 1000
    assert score_bytes("segments", geometry, 2, [(200, 400, 400), (1, 1, 1)]) == scored * (16 * 8 + 1) + 2 * 4096
    assert score_bytes("flash_attention_3", geometry, 2, [(200, 400, 400)]) == 64


# -- what is there to be planned

GEOMETRY = Geometry(layers=2, hidden=8, heads=2, kv_heads=2, head_dim=4, intermediate=16, vocabulary=100)


@pytest.fixture
def gpu(monkeypatch):
    """A GPU of which 50 GB are free and this process holds 4 GB."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (50 * 10**9, 80 * 10**9))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 4 * 10**9)


def test_only_memory_that_is_free_is_planned_with(gpu):
    model = nn.Linear(1000, 1000, bias=False)
    usable = 54 * 10**9 * (1 - device_memory.RESERVE) - 3 * BLOCK_BYTES["cuda"]
    assert activation_memory(model, GEOMETRY, CUDA, shards=1) == usable - 16 * 10**6
    model.requires_grad_(False)
    assert activation_memory(model, GEOMETRY, CUDA, shards=1) == usable - 4 * 10**6
    assert activation_memory(model, GEOMETRY, torch.device("cpu"), shards=1) is None


def test_deepspeeds_buckets_and_live_weights_have_their_place(gpu):
    whole = GEOMETRY.block_parameters // 2 + 800
    sizes = {"stage3_max_live_parameters": 10**9, "stage3_prefetch_bucket_size": 300, "reduce_bucket_size": 50}
    live = GEOMETRY.block_parameters + 800  # no more than there are
    expected = 2 * (live + 300 + 2 * 50 + whole)
    assert sum(gathered_bytes(GEOMETRY, trained=10**6, zero=sizes)) == expected
    assert sum(gathered_bytes(GEOMETRY, trained=10**6, zero={})) == 4 * whole
    assert gathered_bytes(GEOMETRY, trained=10**6, zero={**sizes, "stage": 2}) == (2 * 10**6, 0, 2 * 2 * 50)

    model = nn.Linear(1000, 1000, bias=False)
    plain = activation_memory(model, GEOMETRY, CUDA, shards=8, zero=sizes)
    on_host = activation_memory(model, GEOMETRY, CUDA, shards=8, zero={**sizes, "offload_optimizer": {"device": "cpu"}})
    assert plain == 54 * 10**9 * (1 - device_memory.RESERVE) - 3 * BLOCK_BYTES["cuda"] - 16 * 10**6 / 8 - expected
    assert on_host - plain == 12 * 10**6 / 8


def test_states_of_every_way_to_spread_them():
    """A billion trained weights and 3 GB of frozen ones on four ranks."""
    sizes = {"trained": 10**9, "frozen": 3e9, "shards": 4}
    assert state_bytes(trained=10**9, frozen=3e9, shards=1) == (7e9, 4e9, 8e9)
    assert state_bytes(**sizes) == (7e9 / 4, 1e9, 2e9)
    assert state_bytes(**sizes, zero={"stage": 1}) == (5e9, 2e9, 3e9)
    assert state_bytes(**sizes, zero={"stage": 2}) == (5e9, 0.5e9, 3e9)
    assert state_bytes(**sizes, zero={"stage": 3}) == (5e9 / 4, 0.5e9, 3e9)
    assert state_bytes(**sizes, zero={"stage": 3, "offload_optimizer": {"device": "cpu"}}) == (5e9 / 4, 0.5e9, 0)


def test_copies_of_whole_models_have_their_place(gpu):
    """DDP's buckets hold every gradient again; autocast copies fp32 weights to 16 bits."""
    model = nn.Linear(1000, 1000, bias=False)
    alone = activation_memory(model, GEOMETRY, CUDA, shards=1)
    assert alone - activation_memory(model, GEOMETRY, CUDA, shards=1, replicas=2) == 4 * 10**6
    assert alone - activation_memory(model, GEOMETRY, CUDA, shards=1, mixed=True) == 2 * 10**6


def test_sizes_that_deepspeed_is_to_choose_are_taken_at_its_defaults():
    large = Geometry(layers=42, hidden=3584, heads=16, kv_heads=8, head_dim=256, intermediate=14336, vocabulary=256_000)
    whole = large.block_parameters // 42 + large.head_parameters
    live = max(whole, 10**9)
    found = gathered_bytes(large, trained=9 * 10**9, zero={"stage": 3, "reduce_bucket_size": "auto"})
    assert sum(found) == 2 * (live + 50_000_000 + 10**9 + whole)
