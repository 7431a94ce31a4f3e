"""Trackers for real, offline: what lands in their files on this disk."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CODE = """
import json
from pathlib import Path
import tiny
from finished import write_recipe
from transformers import Trainer
from alignment.run.callbacks.tracking import RecipeTracking, link_model
from alignment.recipe import load_recipe

settings = {"report_to": ["wandb", "trackio", "tensorboard"], "output_dir": "out", "run_name": "my-run"}
settings |= {"max_steps": 1, "warmup_steps": 0, "logging_steps": 1, "save_strategy": "no", "hub_model_id": "me/x"}
recipe = load_recipe(write_recipe(Path("tiny.yaml"), **settings))
tokenizer = tiny.gemma_tokenizer()
rows = [{"input_ids": [2, 7, 8], "labels": [2, 7, 8]}] * 8
args = recipe.config(world_size=1)
args.remove_unused_columns = False
tracking = RecipeTracking(recipe.resolved)
Trainer(model=tiny.gemma2(len(tokenizer)), args=args, train_dataset=rows, callbacks=[tracking]).train()
link_model(args.report_to, "https://huggingface.co/me/x")
print("LINKS", json.dumps(tracking.links))
import wandb
print("CONFIG", json.dumps(dict(wandb.run.config["recipe"])))
print("SUMMARY", wandb.run.summary["model"])
"""


@pytest.mark.slow
def test_the_recipe_and_the_links_are_recorded_without_a_network(tmp_path: Path):
    script = tmp_path / "track.py"
    script.write_text(CODE)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")]),
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(tmp_path),
        "TRACKIO_DIR": str(tmp_path / "trackio"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    told = dict(line.split(" ", 1) for line in done.stdout.splitlines() if line.split(" ")[0].isupper())
    links = json.loads(told["LINKS"])
    assert set(links) == {"wandb", "trackio"}
    assert list(tmp_path.rglob("events.out.tfevents.*"))

    assert json.loads(told["CONFIG"])["beta"] == 10.0
    assert links["wandb"].startswith("offline run ") and "wandb sync" in links["wandb"]
    assert told["SUMMARY"] == "https://huggingface.co/me/x"
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))

    assert links["trackio"].endswith("/my-run")
    (database,) = (tmp_path / "trackio").glob("*.db")
    rows = sqlite3.connect(database).execute("select config from configs").fetchall()
    assert [json.loads(config)["recipe"]["beta"] for (config,) in rows] == [10.0]
