"""Commands of the distributed tests: how they are launched and what their runs leave."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from alignment.rehearsal.processes import Finished, Running
from alignment.rehearsal.processes import running as start

ROOT = Path(__file__).parents[3]
CONFIGS = ROOT / "configs/accelerate"
WORKERS = Path(__file__).parent / "workers"
TIMEOUT = 420.0
"""Seconds after which a process is taken for hung: many times what it needs on two idle cores."""

ENVIRONMENT = {
    "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]),
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "COLUMNS": "300",
}


def run(command: Sequence[str], log: Path, environment: dict[str, str] | None = None) -> Finished:
    """Run a command to its end."""
    with running(command, log, environment) as job:
        return job.finish(timeout=TIMEOUT)


@contextmanager
def running(command: Sequence[str | Path], log: Path, environment: dict[str, str] | None = None) -> Iterator[Running]:
    """Start a command in the repository with the tests' environment; nothing of it outlives the block."""
    with start(command, log, {**ENVIRONMENT, **(environment or {})}, folder=ROOT) as job:
        yield job


def launch(config: str, script: Path | str, *arguments: object, processes: int | None = None) -> list[str]:
    """`accelerate launch` as users type it, on a free port."""
    command = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch"]
    return command + _launch_arguments(config, script, *arguments, processes=processes)


def tamed_launch(config: str, script: Path | str, *arguments: object, processes: int | None = None) -> list[str]:
    """The same through `alignment.run.launch`, as make does."""
    return [
        sys.executable,
        "-m",
        "alignment.run.launch",
        *_launch_arguments(config, script, *arguments, processes=processes),
    ]


def _launch_arguments(config: str, script: Path | str, *arguments: object, processes: int | None) -> list[str]:
    number = [] if processes is None else ["--num_processes", str(processes)]
    return [
        "--config_file",
        str(CONFIGS / f"{config}.yaml"),
        "--main_process_port",
        "0",
        *number,
        str(script),
        *(str(word) for word in arguments),
    ]


def single(script: Path | str, *arguments: object) -> list[str]:
    """One process without a launcher."""
    return [sys.executable, str(script), *(str(word) for word in arguments)]


def logged(folder: Path) -> list[dict[str, float]]:
    """What a finished run logged at each optimizer step."""
    history = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    return [entry for entry in history if "loss" in entry]


STOP = signal.SIGTERM
KILL = signal.SIGKILL
