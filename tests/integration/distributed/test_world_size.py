"""The pairs, the loss and the update of every step are those of one process, however many share the work."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import torch
from processes import WORKERS, launch, run, single

sys.path.insert(0, str(WORKERS))
from invariance import CASES, STEPS, prepare

pytestmark = pytest.mark.slow


def results_of(folder: Path, command: list[str]) -> dict:
    done = run(command, folder / "log")
    assert done.code == 0, done.output
    return torch.load(folder / "results.pt", weights_only=False)


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> tuple[Path, dict]:
    """One process, micro-batches of 8 pairs down to 1."""
    folder = tmp_path_factory.mktemp("alone")
    prepare(folder)
    return folder, results_of(folder, single(WORKERS / "invariance.py", folder, 1))


def same(mine: dict, theirs: dict) -> None:
    assert len(mine["log"]) == len(theirs["log"]) == STEPS
    for ours, expected in zip(mine["log"], theirs["log"], strict=True):
        assert ours == pytest.approx(expected, rel=1e-4, abs=1e-5)
    weights, expected_weights = mine["weights"], theirs["weights"]
    for name, weight in expected_weights.items():
        assert torch.allclose(weights[name], weight, atol=2e-6), (name, (weights[name] - weight).abs().max())


@pytest.mark.parametrize("case", ["micro-batch 1", "micro-batch 4", "packed"])
def test_micro_batches_and_packing_change_nothing_on_one_process(alone, case):
    same(alone[1][case], alone[1]["micro-batch 2"])


def test_clipping_is_the_recipes_alone(alone):
    """Norms are logged with clipping off, and turning it off changes the update."""
    clipped, free = alone[1]["micro-batch 2"], alone[1]["unclipped"]
    assert free["log"][0]["grad_norm"] == pytest.approx(clipped["log"][0]["grad_norm"], rel=1e-6)
    assert clipped["log"][0]["grad_norm"] > 1.0
    assert free["log"][-1]["loss"] != pytest.approx(clipped["log"][-1]["loss"], rel=1e-3)


@pytest.mark.parametrize(
    ("config", "processes", "cases"),
    [
        ("ddp", 2, ["micro-batch 1", "micro-batch 4", "packed"]),
        ("zero3", 2, list(CASES)),
        ("zero3", 4, ["micro-batch 1", "packed"]),
    ],
    ids=["DDP on 2", "ZeRO-3 on 2", "ZeRO-3 on 4"],
)
def test_ranks_change_nothing(alone, tmp_path, config, processes, cases):
    source, expected = alone
    shutil.copytree(source / "model", tmp_path / "model")
    command = launch(config, WORKERS / "invariance.py", tmp_path, processes, ";".join(cases), processes=processes)
    results = results_of(tmp_path, command)
    assert list(results) == cases
    for name, result in results.items():
        if config == "zero3":
            assert (result["type"], result["stage"]) == ("DEEPSPEED", 3)
            assert max(result["shares"]) < 1 / processes + 0.01  # every rank holds its part of each parameter
        else:
            assert result["type"] == "MULTI_CPU"
        same(result, expected[name])
