"""SimPO and DPO under ZeRO-3 on two processes, through the shipped configuration, against one process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from processes import ROOT, launch, logged, run, single
from recipes import workshop
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("method", ["simpo", "dpo"])
def test_zero3_equals_one_process(tmp_path, method):
    changes = {"packing": True} if method == "simpo" else {}
    recipe = workshop(tmp_path, method, num_train_epochs=1, save_strategy="no", **changes)
    script = ROOT / f"scripts/{method}.py"
    one, two = tmp_path / "one", tmp_path / "two"
    for command in (
        single(script, "--config", recipe, "--output_dir", one),
        launch("zero3_cpu", script, "--config", recipe, "--output_dir", two),
    ):
        done = run(command, tmp_path / "log")
        assert done.code == 0, done.output

    manifest = json.loads((two / "run_manifest.json").read_text())
    assert manifest["distributed"] | {"mixed_precision": None} == {
        "type": "DEEPSPEED",
        "zero_stage": 3,
        "world_size": 2,
        "mixed_precision": None,
    }
    assert manifest["batch"]["global_batch_size"] == 8
    for mine, theirs in zip(logged(two), logged(one), strict=True):
        for name in ("loss", "grad_norm", "rewards/margins", "rewards/accuracies"):
            assert mine[name] == pytest.approx(theirs[name], rel=2e-4, abs=2e-5), name
    weights, expected = load_file(two / "model.safetensors"), load_file(one / "model.safetensors")
    assert weights.keys() == expected.keys()
    for name, weight in expected.items():
        assert torch.allclose(weights[name], weight, atol=2e-6), name

    ids = torch.arange(10, 40)[None]
    logits = [
        AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")(ids).logits for folder in (one, two)
    ]
    assert torch.allclose(*logits, atol=1e-4)


def test_bf16_is_the_recipes_alone(tmp_path):
    """No configuration names a precision: the recipe's `bf16: true` reaches DeepSpeed, with fp32 masters."""
    recipe = workshop(tmp_path, "simpo", max_steps=2, save_strategy="no", bf16=True, gradient_checkpointing=True)
    done = run(launch("zero3_cpu", ROOT / "scripts/simpo.py", "--config", recipe), tmp_path / "log")
    assert done.code == 0, done.output
    manifest = json.loads((tmp_path / "out/run_manifest.json").read_text())
    assert manifest["distributed"]["mixed_precision"] == "bf16"
    assert {weight.dtype for weight in load_file(tmp_path / "out/model.safetensors").values()} == {torch.bfloat16}
    reloaded = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert torch.isfinite(reloaded(torch.arange(10, 40)[None]).logits).all()


def test_a_batch_that_cannot_be_divided_is_refused_with_what_can(tmp_path):
    recipe = workshop(tmp_path, "simpo", global_batch_size=9)
    done = run(launch("zero3_cpu", ROOT / "scripts/simpo.py", "--config", recipe), tmp_path / "log")
    assert done.code != 0
    assert done.output.count("must be divisible by the 2 processes; run 1, 3 or 9 processes") == 1
    assert "use global_batch_size 8 or 10" in done.output


def test_sharding_that_this_machine_cannot_give_is_refused(tmp_path):
    """accelerate would train with DDP where fsdp2 was asked for."""
    if torch.accelerator.is_available():
        pytest.skip("FSDP is available here")
    recipe = workshop(tmp_path, "simpo")
    done = run(launch("fsdp2", ROOT / "scripts/simpo.py", "--config", recipe, processes=2), tmp_path / "log")
    assert done.code != 0
    assert done.output.count("distributed_type FSDP is not available here") == 1
    assert not Path(tmp_path / "out/model.safetensors").exists()
