"""What needs processes of its own: ZeRO-3, and the benchmarks on a machine with little installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent

pytestmark = pytest.mark.slow


def run(*command: object, **environment: str) -> str:
    paths = os.pathsep.join(map(str, (ROOT / "src", ROOT / "tests", HERE)))
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths, **environment}
    done = subprocess.run([sys.executable, *map(str, command)], env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_adapted_head_under_zero3():
    """Base weight and both LoRA matrices of the head are sharded; gradients equal one process, padded, to 1e-5."""
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", 2)
    lines = run(*launch, HERE / "zero3_head.py", DS_ACCELERATOR="cpu").splitlines()
    found = [float(line.split()[1]) for line in lines if line.startswith("distance ")]
    assert len(found) == 1 and found[0] < 1e-5


def test_the_gpu_benchmark_runs_without_trl_deepspeed_peft_and_datasets(tmp_path):
    blocked = "import sys; sys.modules.update(dict.fromkeys(['trl', 'deepspeed', 'peft', 'datasets', 'matplotlib']))"
    arguments = ["--size", "tiny", "--device", "cpu", "--pairs", "4", "--rounds", "1", "--folder", str(tmp_path)]
    script = ROOT / "benchmarks/gpu.py"
    program = (
        f"{blocked}; import runpy; sys.argv = {[str(script), *arguments]!r}; "
        f"sys.path.insert(0, {str(script.parent)!r}); runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    run("-c", program)
    result = json.loads((tmp_path / "gpu.json").read_text())
    assert {"hardware", "versions", "workload", "arms", "ratio_to_reference", "ratio_to_trl"} <= result.keys()
    losses = {arm["name"]: arm["loss"] for arm in result["arms"]}
    assert len(losses) == 7
    assert list(losses.values()) == pytest.approx([losses["reference's method"]] * 7, rel=1e-4)
    projection = result["projection"]
    assert projection["ours_minutes"] > 0 and projection["ranks"] == 8
