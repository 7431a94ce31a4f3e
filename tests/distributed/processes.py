"""Real processes for tests: started in a group of their own, watched, and always ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs/accelerate"
WORKERS = Path(__file__).parent / "workers"
TIMEOUT = 420.0
"""Seconds after which a process is taken for hung: many times what it needs on two idle cores."""

ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]),
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "COLUMNS": "300",
}


@dataclass(frozen=True)
class Finished:
    """What a command left behind."""

    code: int
    output: str
    """stdout and stderr, interleaved as written."""
    seconds: float


class Running:
    """A command that has been started."""

    def __init__(self, command: Sequence[str], log: Path, environment: dict[str, str] | None = None) -> None:
        self._log = log
        self._started = time.monotonic()
        with log.open("w") as out:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=ROOT,
                env={**ENVIRONMENT, **(environment or {})},
                start_new_session=True,
            )
        self.family: dict[int, psutil.Process] = {}

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def descendants(self) -> list[psutil.Process]:
        """Every process the command has started and that still runs."""
        with suppress(psutil.NoSuchProcess):
            self.family |= {child.pid: child for child in psutil.Process(self.process.pid).children(recursive=True)}
        return [child for child in self.family.values() if alive(child)]

    def ranks(self) -> list[psutil.Process]:
        """The training processes, in the order of their ranks."""
        by_rank = {}
        for child in self.descendants():
            try:
                variables = child.environ()
            except psutil.Error:
                continue
            if "LOCAL_RANK" in variables and "RANK" in variables:
                by_rank.setdefault(int(variables["RANK"]), child)
        return [by_rank[rank] for rank in sorted(by_rank)]

    def wait_for(self, path: Path, *, timeout: float = TIMEOUT) -> None:
        """Until `path` exists; fails when the command ends first."""
        until = time.monotonic() + timeout
        while not path.exists():
            self.descendants()
            assert self.process.poll() is None, f"ended before {path.name} appeared:\n{self.output}"
            assert time.monotonic() < until, f"{path.name} did not appear:\n{self.output}"
            time.sleep(0.05)

    def finish(self, *, timeout: float = TIMEOUT) -> Finished:
        """Wait for the end."""
        self.descendants()
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout:.0f} s:\n{self.output}") from None
        return Finished(code, self.output, time.monotonic() - self._started)

    def end(self) -> None:
        """Kill whatever is left."""
        for process in [*self.descendants()]:
            process.kill()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def running(command: Sequence[str], log: Path, environment: dict[str, str] | None = None) -> Iterator[Running]:
    job = Running(command, log, environment)
    try:
        yield job
    finally:
        job.end()


def run(command: Sequence[str], log: Path, environment: dict[str, str] | None = None) -> Finished:
    """Run a command to its end."""
    with running(command, log, environment) as job:
        return job.finish()


def launch(config: str, script: Path | str, *arguments: object, processes: int | None = None) -> list[str]:
    """`accelerate launch` as users type it, on a free port."""
    command = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch"]
    return command + _launch_arguments(config, script, *arguments, processes=processes)


def tamed_launch(config: str, script: Path | str, *arguments: object, processes: int | None = None) -> list[str]:
    """The same through `alignment.launch`, as make does."""
    return [
        sys.executable,
        "-m",
        "alignment.launch",
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
    """What a finished run logged at each optimiser step."""
    history = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    return [entry for entry in history if "loss" in entry]


STOP = signal.SIGTERM
KILL = signal.SIGKILL
