"""What a micro-batch was planned to take against what the allocator hands out for a real one, and its arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from tiny import gemma2_config
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM, LlamaConfig, Qwen3Config

from alignment.modeling.flops import Geometry, training_flops
from alignment.modeling.memory_plan import checkpoint_first_layers
from alignment.modeling.packed_forward import prepare_for_packing
from alignment.modeling.peft import lora_config
from alignment.planning import footprint as measured
from alignment.planning.footprint import footprint
from alignment.planning.step import Step
from alignment.planning.tracked_step import batch_of, run, with_layers
from alignment.recipe import ModelArguments

WIDE = {
    "hidden_size": 128,
    "intermediate_size": 320,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
}
CONFIGS = {
    "gemma2": gemma2_config(vocab_size=3000, **WIDE),
    "llama": LlamaConfig(vocab_size=700, tie_word_embeddings=False, **WIDE),
    "qwen3": Qwen3Config(vocab_size=1200, tie_word_embeddings=True, **WIDE),
}
LORA = {"use_peft": True, "lora_r": 4, "lora_dropout": 0.0, "lora_target_modules": "all-linear"}
PAIRS = ((50, 120, 90), (30, 70, 140))
STEP = Step(lengths=PAIRS, form="packed", dtype="float32", autocast=False, kernels="cpu")
HELD_OUT = [
    ("gemma2", 6, 0, {}, {}),
    ("gemma2", 7, 4, {}, {"accumulates": False}),
    ("gemma2", 5, 0, {}, {"form": "padded"}),
    ("llama", 8, 8, {}, {"accumulates": False}),
    ("llama", 5, 0, LORA, {}),
    ("qwen3", 4, 0, {}, {"autocast": True}),
    ("qwen3", 6, 3, {}, {"dtype": "bfloat16"}),
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ALIGNMENT_CACHE", str(tmp_path))


@pytest.mark.parametrize(("name", "layers", "checkpointed", "adapters", "changes"), HELD_OUT)
def test_planned_peak_is_that_of_the_real_step(name, layers, checkpointed, adapters, changes):
    config, step = with_layers(CONFIGS[name], layers), replace(STEP, **changes)
    model = ModelArguments(model_name_or_path=name, attn_implementation="eager", **adapters)
    planned = footprint(model, config, step).peak(layers, checkpointed)
    assert planned == pytest.approx(really_taken(config, model, step, checkpointed), rel=0.15)


def really_taken(config, model: ModelArguments, step: Step, checkpointed: int) -> int:
    """Bytes that the allocator hands out for a micro-batch of a real model, at the fullest moment."""
    torch.manual_seed(0)
    policy = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=getattr(torch, step.dtype))
    adapters = lora_config(model)
    if adapters is not None:
        from peft import get_peft_model

        policy.enable_input_require_grads()
        policy = get_peft_model(policy, adapters)
    policy.train()
    if step.form == "packed":
        prepare_for_packing(policy, dtype=torch.bfloat16 if step.autocast else None)
    checkpoint_first_layers(policy, checkpointed)
    batch = batch_of(step)
    if step.accumulates:
        run(policy, batch, step)
    return allocated(lambda: run(policy, batch, step))


def allocated(call: Callable[[], None]) -> int:
    """Bytes handed out and not given back during `call`, at the most."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        call()
    events = [event for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most


@pytest.mark.parametrize("name", CONFIGS)
def test_arithmetic_of_a_real_step_is_that_of_the_geometry(name):
    """`segments` multiplies whole squares of scores, and the geometry counts what is seen; the rest must agree."""
    config = with_layers(CONFIGS[name], 3)
    policy = AutoModelForCausalLM.from_config(config, attn_implementation="eager").train()
    prepare_for_packing(policy)
    batch = batch_of(STEP)
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: in_place}) as counter:
        run(policy, batch, STEP)
    geometry = Geometry.of(config)
    squares = sum((p + c) ** 2 + r * (p + r) for p, c, r in PAIRS)
    seen = sum(sum(n * (n + 1) / 2 for n in pair) + pair[0] * (pair[1] + pair[2]) for pair in PAIRS)
    unseen = 3 * 4 * geometry.heads * geometry.head_dim * geometry.layers * (squares - seen)
    assert counter.get_total_flops() - unseen == pytest.approx(training_flops(geometry, PAIRS), rel=0.01)


def in_place(total, a, b, **_) -> int:
    """Of `total += a @ b`, for which torch has no formula; shapes in."""
    return 2 * a[0] * a[1] * b[1]


def test_a_step_is_measured_once(monkeypatch):
    model = ModelArguments(model_name_or_path="gemma2", attn_implementation="eager")
    first = footprint(model, CONFIGS["gemma2"], STEP)
    monkeypatch.setattr(measured, "measure", None)
    assert footprint(model, with_layers(CONFIGS["gemma2"], 9), STEP) == first, "only its layers differ"
    with pytest.raises(TypeError):
        footprint(model, CONFIGS["llama"], STEP)
