"""Plans of whole recipes: what they say holds together, and agrees with what training does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import preference_rows, save_gemma2, write_jsonl

from alignment.errors import RecipeError, SetupError
from alignment.planning.plan import Plan, Request, as_json, plan
from alignment.planning.rows import assumed_lengths
from alignment.planning.speed import ASSUMED_SHARE, run_seconds, share_of_peak, traffic_of
from alignment.planning.summary import kept_summary
from alignment.recipe import load_recipe

RECIPE = """
method: simpo
model_name_or_path: {folder}/model
dataset_name: {folder}/rows.jsonl
chat_template: gemma2
global_batch_size: 16
max_length: 96
max_prompt_length: 48
bf16: true
gradient_checkpointing: auto
learning_rate: 1.0e-5
output_dir: {folder}/out
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan")
    save_gemma2(folder / "model")
    write_jsonl(folder / "rows.jsonl", preference_rows(70))
    (folder / "recipe.yaml").write_text(RECIPE.format(folder=folder))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALIGNMENT_CACHE", str(folder / "cache"))
        yield folder


@pytest.fixture(scope="module")
def found(home) -> Plan:
    return plan(load_recipe(home / "recipe.yaml"), Request())


def test_options_are_complete_and_add_up(found: Plan):
    content = as_json(found)
    options = content["options"]
    assert {option["count"] for option in options} == {1, 2, 4, 8, 16}
    assert {"h100-80", "h200", "a100-80", "a100-40", "l40s", "4090", "cpu"} <= {option["gpu"] for option in options}
    spread = {option["configuration"] for option in options if option["count"] == 8}
    assert spread == {"ddp", "zero1", "zero2", "zero3", "fsdp2", "zero3_offload"}
    for option in options:
        parts = dict(option["memory_gib"])
        assert parts.pop("total") == pytest.approx(sum(parts.values()), abs=1e-3)
        assert {"weights", "gradients", "optimizer", "activations", "logits"} <= set(parts)
        assert min(parts.values()) >= 0 and option["minutes"] >= 0
        assert option["nodes"] == (2 if option["count"] == 16 else 1)
    assert content["optimizer_steps"] == 5 and content["rows"]["train"] == 70
    assert content["tokens_per_step"] * 5 == pytest.approx(sum(map(sum, found.case.rows.train)), abs=5)
    best = options[content["recommended"]]
    assert best["fits"] and best["gpu"] == "cpu" and content["command"].endswith("ACCELERATE=cpu")


def test_a_number_of_gpus_is_planned_alone_with_its_price_and_command(home):
    request = Request(gpu="h100", processes=2, machines=2, price=3.0, overrides=("--beta", "5"))
    found = plan(load_recipe(home / "recipe.yaml"), request)
    content = as_json(found)
    assert {(o["gpu"], o["count"], o["nodes"]) for o in content["options"]} == {("h100-80", 4, 2)}
    best = content["options"][content["recommended"]]
    assert best["price"] == pytest.approx(3.0 * best["gpu_hours"], abs=0.01)
    assert f"RECIPE={home}/recipe.yaml NPROC=2 ACCELERATE=zero1 NNODES=2" in content["command"]
    assert content["command"].endswith('ARGS="--beta 5"')


def test_the_plan_deals_out_what_training_deals_out(home, found: Plan, capsys):
    """On this machine's CPU, training itself says how it packs."""
    from datasets import Dataset

    from alignment.modeling.load import load_policy
    from alignment.trainers.packing_plan import plan_packing

    recipe = load_recipe(home / "recipe.yaml", ["--bf16", "false"])
    args = recipe.config(world_size=1)
    lengths = found.case.rows.train
    rows = {name: [[1] * pair[part] for pair in lengths] for part, name in enumerate(COLUMNS)}
    packing = plan_packing(args, load_policy(recipe.model), Dataset.from_dict(rows), backend="segments")
    planned = next(option for option in found.options if option.gpu == "cpu")
    assert planned.tokens_per_device == packing.budget.tokens
    assert planned.micro_batches == packing.dealt.most
    assert planned.checkpointed_layers == packing.budget.checkpointed_layers


COLUMNS = ("prompt_ids", "chosen_ids", "rejected_ids")


@pytest.mark.parametrize(
    ("request_of", "told"),
    [
        ({"gpu": "h10"}, "did you mean"),
        ({"processes": 0}, "NPROC 0 must be at least 1"),
        ({"machines": -1}, "NNODES -1 must be at least 1"),
        ({"price": 0.0}, "PRICE_PER_GPU_HOUR"),
        ({"processes": 3}, "must be divisible by the 3 processes"),
    ],
)
def test_what_cannot_be_planned_is_told(home, request_of, told):
    with pytest.raises((SetupError, RecipeError), match=told):
        plan(load_recipe(home / "recipe.yaml"), Request(**request_of))


@pytest.mark.slow
def test_json_is_all_that_stdout_holds_and_the_check_shows_the_plan(home):
    script = [sys.executable, "scripts/plan.py", "--config", f"{home}/recipe.yaml"]
    printed = subprocess.run([*script, "--json"], capture_output=True, text=True, check=True).stdout
    content = json.loads(printed)
    assert content["parameters"] == content["trainable_parameters"] > 0
    lines = kept_summary(load_recipe(home / "recipe.yaml"))
    assert [line.split(":")[0] for line in lines] == ["fits", "steps", "hours"]
    check = [sys.executable, "scripts/check_recipe.py", f"{home}/recipe.yaml"]
    shown = subprocess.run(check, capture_output=True, text=True, check=True).stdout
    assert lines[0] in shown and "5 of" in lines[1]

    wrong = subprocess.run([*script, "--gpu", "h20000"], capture_output=True, text=True)
    assert wrong.returncode == 2 and "GPU h20000" in wrong.stderr and "Traceback" not in wrong.stderr


def test_lengths_that_nobody_knows_are_as_stated():
    lengths = assumed_lengths(4000, longest=2048, pairs=True)
    prompts, chosen, rejected = (sum(part) / 4000 for part in zip(*lengths, strict=True))
    assert 195 < prompts < 220 and 385 < chosen < 405 and 385 < rejected < 405
    assert max(p + max(c, r) for p, c, r in lengths) <= 2048
    assert all(rejected == 0 for _, _, rejected in assumed_lengths(10, longest=512, pairs=False))


def test_seconds_worked_by_hand():
    """Eight GPUs, 10 GB of weights and of gradients: ZeRO-3 sends 7/8 of 30 GB a micro-step, DDP 35 GB a step."""
    sharded = traffic_of(weights=10e9, gradients=10e9, stage=3, ranks=8)
    whole = traffic_of(weights=10e9, gradients=10e9, stage=0, ranks=8)
    assert (sharded.micro_step, sharded.step) == (30e9 * 7 / 8, 0)
    assert (whole.micro_step, whole.step) == (0, 35e9)
    run = {"flops": 400e12, "rate": 1e12, "micro_steps": 100, "steps": 10}
    assert run_seconds(traffic=sharded, link=450, **run) == 400
    assert run_seconds(traffic=sharded, link=5, **run) == 30 * 7 / 8 / 5 * 100
    assert run_seconds(traffic=whole, link=35, host=2.0, **run) == 400 + 10 * (1 + 2)


def test_a_measured_share_of_the_peak_replaces_the_assumed_one(tmp_path: Path):
    assert share_of_peak(tmp_path).value == ASSUMED_SHARE
    results = tmp_path / "benchmarks/results"
    results.mkdir(parents=True)
    arms = [{"name": "reference's method", "mfu": 0.1}, {"name": "ours", "mfu": 0.52}]
    (results / "gpu.json").write_text(json.dumps({"hardware": {"gpu": "NVIDIA H200"}, "arms": arms}))
    share = share_of_peak(tmp_path)
    assert share.value == 0.52 and "measured on NVIDIA H200" in share.reason
