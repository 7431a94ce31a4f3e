"""Several machines, as several launchers of one process each on this one."""

from __future__ import annotations

import socket
import stat
import subprocess
from pathlib import Path

import pytest
from processes import ENVIRONMENT, ROOT, TIMEOUT, logged, run, running, single
from recipes import workshop

pytestmark = pytest.mark.slow

SLURM = {
    "scontrol": '[ "$1" = show ] && echo 127.0.0.1 || echo "scontrol $*" >> "$STAND_INS/calls"',
    "scancel": 'pkill -TERM -P "$(cat "$STAND_INS/srun.pid")" -f alignment.run.launch',
    "srun": 'echo $$ > "$STAND_INS/srun.pid"; shift; code=0\n'
    'for node in $(seq 0 $((SLURM_NNODES - 1))); do SLURM_NODEID=$node "$@" & done\n'
    "for job in $(jobs -p); do wait $job || code=$?; done; exit $code",
}
"""Stand-ins of Slurm's commands that run every node's task here."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def slurm(folder: Path, recipe: Path) -> tuple[list[str], dict[str, str]]:
    """The command and the environment of a job of two nodes."""
    for name, body in SLURM.items():
        command = folder / name
        command.write_text(f"#!/bin/bash\n{body}\n")
        command.chmod(command.stat().st_mode | stat.S_IEXEC)
    import os
    import sys

    environment = {
        "PATH": f"{folder}:{os.environ['PATH']}",
        "PYTHON": sys.executable,
        "STAND_INS": str(folder),
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "here",
        "SLURM_NNODES": "2",
        "MASTER_PORT": str(free_port()),
        "NPROC": "1",
    }
    return ["bash", str(ROOT / "scripts/launch.slurm"), str(recipe)], environment


def test_two_nodes_under_slurm_equal_one_process(tmp_path):
    """Rendezvous, one log a rank, preemption with requeue and resume: ZeRO-3 over both nodes."""
    recipe = workshop(tmp_path, "simpo", num_train_epochs=2)
    alone = run(
        single(ROOT / "scripts/simpo.py", "--config", recipe, "--output_dir", tmp_path / "alone"), tmp_path / "a"
    )
    assert alone.code == 0, alone.output
    command, environment = slurm(tmp_path, recipe)
    logs = ROOT / "logs/7"
    try:
        with running(command, tmp_path / "log", environment) as job:
            job.wait_for(tmp_path / "out/checkpoint-2/trainer_state.json", timeout=TIMEOUT)
            job.process.send_signal(10)  # SIGUSR1, as `--signal=B:USR1@600` has Slurm send it
            done = job.finish(timeout=TIMEOUT)
        assert done.code == 0, done.output
        assert (tmp_path / "calls").read_text() == "scontrol requeue 7\n"
        assert not (tmp_path / "out/run_manifest.json").exists()
        done = run(command, tmp_path / "log", environment | {"MASTER_PORT": str(free_port())})
        assert done.code == 0, done.output
        written = sorted(str(path.relative_to(logs)).split("/")[0] for path in logs.glob("*/*/attempt_0/*/stdout.log"))
        assert set(written) == {"0", "1"}
    finally:
        subprocess.run(["rm", "-rf", str(logs)], check=True)
    for mine, theirs in zip(logged(tmp_path / "out"), logged(tmp_path / "alone"), strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
        assert mine["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-3)


@pytest.mark.parametrize(
    ("words", "launches"),
    [
        ("NPROC=8", "-m alignment.run.launch --config_file configs/accelerate/zero3.yaml --num_processes 8 "),
        ("NPROC=1", ".venv/bin/python scripts/train.py --config gemma2-simpo"),
        ("ACCELERATE=zero3_cpu", "--config_file configs/accelerate/zero3_cpu.yaml --num_processes 2 "),
        ("NPROC=1 ACCELERATE=zero3_offload", "--config_file configs/accelerate/zero3_offload.yaml --num_processes 1 "),
        (
            "NPROC=8 NNODES=2 NODE_RANK=1 MASTER_ADDR=10.0.0.1",
            "--num_processes 16 --num_machines 2 --machine_rank 1 --main_process_ip 10.0.0.1 "
            "--main_process_port 29500 scripts/train.py --config gemma2-simpo",
        ),
    ],
)
def test_what_make_launches(words, launches):
    shown = subprocess.run(
        ["make", "-n", "train", "RECIPE=gemma2-simpo", *words.split()],
        cwd=ROOT,
        env={"PATH": ENVIRONMENT.get("PATH", "/usr/bin:/bin")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert launches in " ".join(shown.stdout.split())
