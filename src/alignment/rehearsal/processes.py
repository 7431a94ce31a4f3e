"""Commands in a process group of their own: watched, waited for, and always ended with everything they started."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Finished:
    """What a command left behind."""

    code: int
    output: str
    """stdout and stderr, interleaved as written."""
    seconds: float


class Running:
    """A command that has been started.

    Args:
        command: program and arguments.
        log: file that takes its output.
        environment: variables added to this process's own.
        folder: where it runs; the working directory when absent.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        log: Path,
        environment: Mapping[str, str] | None = None,
        *,
        folder: Path | None = None,
    ) -> None:
        self._log = log
        self._started = time.monotonic()
        with log.open("w") as out:
            self.process = subprocess.Popen(
                [str(word) for word in command],
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        self._family: dict[int, psutil.Process] = {}

    @property
    def output(self) -> str:
        """What it has written so far."""
        return self._log.read_text(errors="replace")

    def descendants(self) -> list[psutil.Process]:
        """Every process that it was seen to start and that still runs."""
        with suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.process.pid).children(recursive=True)
            self._family |= {child.pid: child for child in children}
        return [child for child in self._family.values() if alive(child)]

    def ranks(self) -> list[psutil.Process]:
        """The training processes, in the order of their ranks."""
        by_rank: dict[int, psutil.Process] = {}
        for child in self.descendants():
            with suppress(psutil.Error):
                variables = child.environ()
                if "LOCAL_RANK" in variables and "RANK" in variables:
                    by_rank.setdefault(int(variables["RANK"]), child)
        return [by_rank[rank] for rank in sorted(by_rank)]

    def wait_for(self, path: Path, *, timeout: float) -> None:
        """Until `path` exists. Raises `AssertionError` when the command ends first or time is up."""
        until = time.monotonic() + timeout
        while not path.exists():
            self.descendants()
            assert self.process.poll() is None, f"ended before {path.name} appeared:\n{self.output}"
            assert time.monotonic() < until, f"{path.name} did not appear in {timeout:.0f} s:\n{self.output}"
            time.sleep(0.05)

    def finish(self, *, timeout: float) -> Finished:
        """Wait for the end. Raises `AssertionError` when time is up."""
        self.descendants()
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {timeout:.0f} s:\n{self.output}") from None
        return Finished(code, self.output, time.monotonic() - self._started)

    def end(self) -> None:
        """Kill whatever is left of it."""
        for process in self.descendants():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


def alive(process: psutil.Process) -> bool:
    """Whether a process still runs; one that only waits to be collected does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextmanager
def running(
    command: Sequence[str | Path],
    log: Path,
    environment: Mapping[str, str] | None = None,
    *,
    folder: Path | None = None,
) -> Iterator[Running]:
    """Start a command; nothing of it outlives the block."""
    job = Running(command, log, environment, folder=folder)
    try:
        yield job
    finally:
        job.end()
