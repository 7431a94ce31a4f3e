"""A whole sweep in real processes: killed, resumed, with a cell that collapsed and one that failed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from tiny import preference_rows, save_gemma2, write_jsonl

from alignment.recipe import load_recipe

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT / "src")}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    rows = preference_rows(20)
    write_jsonl(tmp_path / "data/train.jsonl", rows[:16])
    write_jsonl(tmp_path / "data/test.jsonl", rows[16:])
    path = tmp_path / "recipe.yaml"
    settings = {
        **{"method": "simpo", "model_name_or_path": str(save_gemma2(tmp_path / "model"))},
        **{"dataset_name": str(tmp_path / "data"), "output_dir": str(tmp_path / "out"), "use_cpu": True},
        **{"global_batch_size": 4, "max_length": 96, "max_prompt_length": 64, "max_steps": 3, "logging_steps": 1},
        **{"eval_strategy": "epoch", "save_strategy": "no", "beta": 2.0, "learning_rate": 1e-4},
    }
    path.write_text(yaml.safe_dump(settings))
    return path


def start(recipe: Path, grid: str, *words: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "alignment.cli", "sweep", str(recipe), "--grid", grid, *words]
    return subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=recipe.parent
    )


def finish(process: subprocess.Popen) -> str:
    out, _ = process.communicate(timeout=280)
    assert process.returncode == 0, out[-4000:]
    return out


def done(folder: Path) -> dict[str, float]:
    """Finished cell -> when its last file was written."""
    return {path.parent.name: path.stat().st_mtime for path in folder.glob("*/README.md")}


@pytest.mark.slow
def test_a_killed_sweep_goes_on_and_trains_no_cell_twice(recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out/sweep"
    first = start(recipe, "learning_rate=1e-4,1e-3")
    until = time.monotonic() + 240
    while not done(folder):
        assert first.poll() is None and time.monotonic() < until
        time.sleep(0.1)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    before = done(folder)

    (tmp_path / "out/sweep/learning_rate=1e-3").mkdir(exist_ok=True)
    told = finish(start(recipe, "learning_rate=1e-4,1e-3"))
    assert "1 of 2 cells are done already" in told
    assert {name: done(folder)[name] for name in before} == before
    results = json.loads((folder / "sweep.json").read_text())
    assert {cell["state"] for cell in results["cells"]} == {"done"} and len(results["cells"]) == 2
    assert results["cells"][0]["name"] == results["best"]
    assert (folder / "sweep.png").stat().st_size > 5000

    best, other = (cell["name"] for cell in results["cells"])
    assert (folder / best / "model.safetensors").is_file()
    assert not (folder / other / "model.safetensors").exists()
    found = load_recipe(folder / "best.yaml")
    assert found.training["learning_rate"] == float(results["cells"][0]["settings"]["learning_rate"])
    assert found.training["beta"] == 2.0

    recipe.write_text(recipe.read_text().replace("beta: 2.0", "beta: 3.0"))
    changed = start(recipe, "learning_rate=1e-4,1e-3")
    out, _ = changed.communicate(timeout=120)
    assert changed.returncode == 2 and "beta" in out and "was another one" in out


@pytest.mark.slow
def test_cells_that_fail_are_tried_again_and_those_that_collapsed_are_not(recipe: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out/sweep"
    (folder / "seed=1").mkdir(parents=True)
    manifest = {"stopped_by": "loss-spike", "alarms": [{"name": "loss-spike", "step": 2, "message": "it rose"}]}
    (folder / "seed=1/run_manifest.json").write_text(json.dumps(manifest))
    (folder / "seed=2").mkdir()
    (folder / "seed=2/failure.txt").write_text("out of memory\n")
    told = finish(start(recipe, "seed=1,2"))
    cells = {cell["name"]: cell for cell in json.loads((folder / "sweep.json").read_text())["cells"]}
    assert (cells["seed=1"]["state"], cells["seed=1"]["why"]) == ("collapsed", "loss-spike at step 2")
    assert cells["seed=2"]["state"] == "done"
    assert "Best: seed=2" in told


@pytest.mark.slow
def test_a_cell_that_cannot_train_is_told_with_its_message(recipe: Path, tmp_path: Path) -> None:
    process = start(recipe, "model_revision=main,other", "--dataset_name", str(tmp_path / "data"))
    (tmp_path / "out/sweep/model_revision=other").mkdir(parents=True)
    (tmp_path / "out/sweep/model_revision=other/checkpoint-1").mkdir()  # of a run that nobody here started
    out, _ = process.communicate(timeout=280)
    cells = json.loads((tmp_path / "out/sweep/sweep.json").read_text())["cells"]
    assert {cell["name"]: cell["state"] for cell in cells} == {
        "model_revision=main": "done",
        "model_revision=other": "failed",
    }, out[-2000:]
    assert "holds checkpoints of a run that this program did not start" in out


def test_a_typo_ends_before_anything_runs(recipe: Path, tmp_path: Path) -> None:
    process = start(recipe, "learning_rat=1e-4,1e-3")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 2 and "did you mean learning_rate" in out and "Traceback" not in out
    assert not (tmp_path / "out").exists()
