"""Memory: how many tokens fit, how many layers to checkpoint; and the fused forms of norms and activations."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from packing_models import CONFIGS, build, distance, gradients, packed, random_pairs

from alignment.modeling.compiled_elementwise import fuse_elementwise
from alignment.modeling.flops import Geometry
from alignment.modeling.memory_plan import (
    CPU_TOKENS,
    ENOUGH_TOKENS,
    PREFERRED_TOKENS,
    Budget,
    activation_bytes,
    bytes_per_token,
    input_bytes,
    plan_memory,
)
from alignment.modeling.packed_forward import packed_logps, prepare_for_packing

GEMMA2_9B = Geometry(layers=42, hidden=3584, heads=16, kv_heads=8, head_dim=256, intermediate=14336, vocabulary=256_000)
GIB = 2**30


def plan(memory: float | None, checkpointing: bool | str = "auto", **changes) -> Budget:
    return plan_memory(GEMMA2_9B, 2, memory, checkpointing=checkpointing, longest_pair=3000, **changes)


def test_bytes_worked_by_hand():
    """Gemma-2-9B in bf16: heads keep 2 x 4096 + 6 x 2048 numbers, the MLP 4 x 14336, four norms 10 bytes a number."""
    assert activation_bytes(GEMMA2_9B, 2) == 2 * (8192 + 12288 + 57344) + 4 * 10 * 3584
    assert activation_bytes(GEMMA2_9B, 2, fused=True) == 2 * (8192 + 12288 + 43008) + 4 * 4 * 3584
    assert input_bytes(GEMMA2_9B, 2) == 7168
    assert bytes_per_token(GEMMA2_9B, 2, 0, fused=True) == pytest.approx(7.4 * 2**20, rel=0.01)


def test_ample_memory_recomputes_nothing():
    assert plan(200 * GIB) == Budget(tokens=ENOUGH_TOKENS, checkpointed_layers=0)


@pytest.mark.parametrize("gib", [20, 40, 60, 80])
@pytest.mark.parametrize("fused", [False, True])
def test_auto_recomputes_only_as_much_as_needed(gib, fused):
    found = plan(gib * GIB, fused=fused)
    used = bytes_per_token(GEMMA2_9B, 2, found.checkpointed_layers, fused=fused)
    assert PREFERRED_TOKENS <= found.tokens <= ENOUGH_TOKENS
    assert found.tokens * used <= gib * GIB
    if found.checkpointed_layers:
        one_less = bytes_per_token(GEMMA2_9B, 2, found.checkpointed_layers - 1, fused=fused)
        assert PREFERRED_TOKENS * one_less > gib * GIB


def test_what_the_recipe_states_is_kept():
    assert plan(30 * GIB, True).checkpointed_layers == 42
    assert plan(30 * GIB, False).checkpointed_layers == 0
    assert plan(30 * GIB, tokens=4096).tokens == 4096
    assert plan(30 * GIB, tokens=2048).checkpointed_layers < plan(30 * GIB, tokens=8192).checkpointed_layers


def test_the_longest_pair_always_has_room():
    assert plan(1 * GIB, False).tokens == 3000


def test_a_cpu_rations_nothing():
    assert plan(None) == Budget(tokens=CPU_TOKENS, checkpointed_layers=0)


@pytest.mark.parametrize("name", CONFIGS)
def test_fused_norms_and_activations_are_the_models_own(name):
    pairs, model = random_pairs(3), build(name)
    prepare_for_packing(model)

    def values() -> dict[str, torch.Tensor]:
        logps = packed_logps(model, packed(pairs))
        return {"sums": logps.sums.detach(), **gradients(model, logps.means.sum())}

    expected, names = values(), list(dict(model.named_parameters()))
    assert not fuse_elementwise(model, torch.device("cpu"))
    assert fuse_elementwise(model, torch.device("cpu"), compiled=False)
    assert distance(values(), expected) < 1e-6
    assert list(dict(model.named_parameters())) == names


@pytest.mark.slow
def test_compiled_pieces_give_the_plain_numbers_and_new_lengths_compile_nothing_new():
    """Norms, gated activations and the three kernels of the head, as a GPU runs them but for the code generator."""
    script = Path(__file__).with_name("compiled_pieces.py")
    paths = os.pathsep.join([str(script.parents[2]), *sys.path])
    done = subprocess.run(
        [sys.executable, script, "gemma2", "llama"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    for result in map(json.loads, done.stdout.splitlines()):
        assert result["distance"] < 1e-5, result
        assert len(set(result["graphs"])) == 1, result
