"""Alarms of two processes: answers are sampled from a sharded model, and all ranks stop at the same step."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from processes import ROOT, run, tamed_launch
from recipes import workshop

pytestmark = pytest.mark.slow

SICK = {"learning_rate": 0.1, "alarms": {"default": "off", "chosen-falls": "stop"}, "sample_every": 4, "packing": True}


def test_ranks_sample_together_and_stop_together(tmp_path: Path) -> None:
    recipe = workshop(tmp_path, "simpo", **SICK, adam_epsilon=1e-8, num_train_epochs=4)
    command = tamed_launch("zero3_cpu", ROOT / "scripts/simpo.py", "--config", recipe, processes=2)
    done = run(command, tmp_path / "log")
    assert done.code == 2, done.output
    manifest = json.loads((tmp_path / "out/run_manifest.json").read_text())
    (alarm,) = manifest["alarms"]
    assert manifest["stopped_by"] == alarm["name"] == "chosen-falls"
    assert done.output.count("alarm: chosen-falls at step") == 1
    state = json.loads((tmp_path / f"out/checkpoint-{alarm['step']}/trainer_state.json").read_text())
    sampled = [entry["step"] for entry in state["log_history"] if "samples/tokens" in entry]
    assert sampled == list(range(0, alarm["step"] + 1, 4))
