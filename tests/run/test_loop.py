"""Two rounds in real processes: killed between and inside of stages, and what a user may get wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from filelock import FileLock
from paired import ROOT, pairs_recipe
from safetensors.torch import load_file
from tiny import preference_rows, save_gemma2, write_jsonl
from torch import equal

from alignment.cli.app import main
from alignment.errors import RecipeError
from alignment.recipe.loop_recipe import load_loop_recipe
from alignment.run.loop_stages import Round

TRAIN = {
    "method": "simpo",
    "dataset_name": "rows.jsonl",
    "dataset_train_split": "train",
    "use_peft": True,
    "lora_r": 4,
    "lora_target_modules": "all-linear",
    "max_length": 64,
    "max_prompt_length": 32,
    "global_batch_size": 2,
    "learning_rate": 0.01,
    "num_train_epochs": 1,
    "save_strategy": "steps",
    "save_steps": 1,
    "save_total_limit": 1,
    "report_to": "none",
    "sample_evaluation": {
        "prompts": "heldout.jsonl",
        "rule": "house_style",
        "samples_per_prompt": 2,
        "max_new_tokens": 8,
    },
    "evaluation": {"preferences": {"dataset": "rows.jsonl", "split": "train"}},
}


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder with a tiny model, a dozen prompts, held-out data, and a loop over them; commands run in it."""
    monkeypatch.chdir(tmp_path)
    model = save_gemma2(tmp_path / "model")
    (tmp_path / "recipes").mkdir()
    pairs_recipe(tmp_path, model)
    stated = yaml.safe_load((tmp_path / "recipe.yaml").read_text())
    stated["prompts"]["max_rows"] = 5
    write_jsonl(tmp_path / "rows.jsonl", preference_rows(4))
    write_jsonl(tmp_path / "heldout.jsonl", [{"prompt": "the sun and the moon"}, {"prompt": "a stone in a river"}])
    write(tmp_path / "pairs.yaml", {**stated, "test_size": None})
    write(tmp_path / "train.yaml", {**TRAIN, "model_name_or_path": str(model)})
    loop = {"pairs": {"extends": "pairs.yaml"}, "train": {"extends": "train.yaml"}}
    write(tmp_path / "loop.yaml", {"method": "loop", **loop, "evaluate": ["preferences"], "output_dir": "made"})
    return tmp_path


def write(path: Path, settings: dict) -> None:
    path.write_text(yaml.safe_dump(settings))


def start(place: Path, *words: str) -> subprocess.Popen:
    """`scripts/loop.py` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "scripts/loop.py"), "--config", "loop.yaml", *words],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def kill_when(running: subprocess.Popen, happened) -> None:
    while not happened():
        assert running.poll() is None, running.stdout.read()
        time.sleep(0.01)
    running.send_signal(signal.SIGKILL)
    running.wait()


def prompts_of(place: Path, number: int) -> set[str]:
    lines = next((place / f"made/round-{number}/pairs/.stages/prompts").glob("*/prompts.jsonl")).read_text()
    return {json.loads(line)["id"] for line in lines.splitlines()}


@pytest.mark.slow
def test_a_loop_killed_in_its_stages_goes_on_and_ends_as_an_undisturbed_one(place):
    kill_when(start(place), lambda: list((place / "made/round-1/train").glob("checkpoint-1/*")))
    record = place / "made/loop.json"
    assert [sorted(facts) for facts in json.loads(record.read_text())["rounds"]] == [["pairs", "round"]]
    kill_when(start(place), lambda: (place / "made/round-2/pairs.yaml").is_file())
    first = json.loads(record.read_text())["rounds"][0]
    again = start(place)
    told = again.communicate()[0]
    assert again.returncode == 0, told
    assert "round-1/pairs.yaml" not in told and "round-1/train.yaml" not in told and "pairs to train on" in told
    rounds = json.loads(record.read_text())["rounds"]
    assert rounds[0] == first
    assert [sorted(facts) for facts in rounds] == [["evaluate", "pairs", "round", "train"]] * 2
    assert (place / "made/loop.png").read_bytes().startswith(b"\x89PNG")

    # Round 2 asks other prompts, and both its stages begin from the merged model of round 1.
    assert len(prompts_of(place, 1)) == 5 and not prompts_of(place, 1) & prompts_of(place, 2)
    for stage in ("pairs", "train"):
        stated = yaml.safe_load((place / f"made/round-2/{stage}.yaml").read_text())
        assert stated["model_name_or_path"] == "made/round-1/train"
    merged, base = (load_file(place / f"{name}/model.safetensors") for name in ("made/round-1/train", "model"))
    name = "model.layers.0.self_attn.q_proj.weight"
    assert not equal(merged[name], base[name].to(merged[name].dtype))

    undisturbed = start(place, "--output_dir", "undisturbed")
    told = undisturbed.communicate()[0]
    assert undisturbed.returncode == 0, told
    assert json.loads((place / "undisturbed/loop.json").read_text())["rounds"] == rounds
    for number in (1, 2):
        rows, weights = (
            f"round-{number}/pairs/data/train-00000-of-00001.parquet",
            f"round-{number}/train/model.safetensors",
        )
        assert pq.read_table(place / "made" / rows).equals(pq.read_table(place / "undisturbed" / rows))
        one, other = load_file(place / "made" / weights), load_file(place / "undisturbed" / weights)
        assert one.keys() == other.keys() and all(equal(one[name], other[name]) for name in one)

    changed = start(place, "--train.learning_rate", "0.5", "--min_pairs", "1")
    told = changed.communicate()[0]
    assert changed.returncode == 2 and "train.learning_rate 0.5 was 0.01" in told and "min_pairs" not in told
    done = start(place)
    told = done.communicate()[0]
    assert done.returncode == 0 and "$ " not in told and "preferences: accuracy" in told


@pytest.mark.slow
def test_a_stage_that_ends_badly_and_a_second_loop_are_told(place):
    failed = start(place, "--pairs.scorer.name", "nowhere:score")
    told = failed.communicate()[0]
    assert failed.returncode == 2 and "round 1, pairs ended as told above" in told and "Traceback" not in told
    few = start(place, "--min_pairs", "50")
    told = few.communicate()[0]
    assert few.returncode == 2 and "min_pairs 50 is not reached in round 1: 5 pairs of 5 prompts" in told
    with FileLock(place / "made/.lock-0"):  # as a loop holds it that still runs
        second = start(place)
        told = second.communicate()[0]
    assert second.returncode == 2 and "is being written by another process" in told


FAULTS = [
    (["--train.learning_rat", "1"], "train.learning_rat is not a recipe key; did you mean learning_rate?"),
    (["--pairs.prompts.max_rowz", "1"], "pairs.prompts.max_rowz is not a key"),
    (["--round", "3"], "did you mean rounds?"),
    (["--rounds", "0"], "rounds 0 must be at least 1"),
    (["--evaluate", "preference"], "did you mean preferences?"),
    (["--start_from", "bas"], "did you mean base?"),
    (["--pairs.extends", "nowhere"], "pairs.recipe nowhere is not a recipe"),
    (["--pairs", "null"], "pairs must be stated"),
    (["--pairs.prompts.max_rows", "null"], "or state prompts: same"),
    (["--pairs.model_name_or_path", "some/other"], "must be that of training"),
    (
        ["--train.method", "sft", "--train.max_prompt_length", "null"],
        "train.method sft trains no answers on preference pairs",
    ),
    (["--train.eval_strategy", "epoch"], "which pairs.test_size: null does not make"),
    (["--train.push_to_hub", "true"], "would publish every round"),
    (["--train.output_dir", "elsewhere"], "train.output_dir elsewhere is decided by the loop"),
    (["--evaluate", "[]", "--train.sample_evaluation", "null"], "nothing would be measured"),
]


@pytest.mark.parametrize(
    ("words", "told"), FAULTS, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_faults_are_told_before_anything_is_run(place, words, told):
    with pytest.raises(RecipeError) as error:
        load_loop_recipe("loop.yaml", words)
    assert told in str(error.value)


def test_every_round_has_its_prompts_and_its_model(place):
    recipe = load_loop_recipe("loop.yaml", ["--rounds", "3", "--start_from", "base"])
    third = Round(recipe=recipe, number=3)
    pairs, train, evaluated = (third.settings(stage) for stage in ("pairs", "train", "evaluate"))
    assert pairs["prompts"]["skip_rows"] == 10 and pairs["model_name_or_path"] == "made/round-2/train"
    held_out = {"against": [{"id": str(place / "heldout.jsonl")}], "action": "drop"}
    assert pairs["prompts"]["decontaminate"] == held_out
    assert "model_name_or_path" not in train and train["dataset_name"] == "made/round-3/pairs"
    assert "dataset_name" not in evaluated and evaluated["output_dir"] == "made/round-3/train"
    same = Round(recipe=load_loop_recipe("loop.yaml", ["--prompts", "same"]), number=2)
    assert same.settings("pairs")["prompts"]["skip_rows"] == 0


def test_train_and_check_know_a_loop(place, capsys):
    for command, code, told in (("train", 2, "make loop RECIPE="), ("check", 0, "train.learning_rate")):
        with pytest.raises(SystemExit) as ended:
            main(command, ["loop.yaml"])
        assert ended.value.code == code
        assert told in "".join(capsys.readouterr())
