"""Training the cells, one or several at a time, each as the command line would train it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Queue

from alignment.run.launch import die_with_parent
from alignment.run.sweep.outcome import FAILURE

LOG = "sweep.log"
"""What a cell's run said."""
_LAST_WORDS = 600
"""Characters of a failed run's message that are kept."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """How every cell is launched."""

    processes: int = 1
    """Training processes of a cell."""
    accelerate: str | None = None
    """File that says how they are spread; `None` trains in one process without a launcher."""
    parallel: int = 1
    """Cells at a time; the visible GPUs are shared out among them."""

    def command(self, words: Sequence[str]) -> list[str]:
        """What trains one cell."""
        if self.accelerate is None:
            return [sys.executable, "-m", "alignment.cli", "train", *words]
        launcher = [sys.executable, "-m", "alignment.run.launch", "--config_file", self.accelerate]
        launcher += ["--num_processes", str(self.processes), "--main_process_port", "0"]
        return [*launcher, "--module", "alignment.cli", "train", *words]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One cell to be trained."""

    words: tuple[str, ...]
    """Recipe and overrides."""
    folder: Path


def run_jobs(jobs: Sequence[Job], launch: Launch, ended: Callable[[Job], None]) -> None:
    """Run all of them; `ended` is called after each, in this process's own thread or another one.

    The end of a failed job's message is kept in `failure.txt`; the others go on. Whatever ends this process ends them.
    """
    devices: Queue[str | None] = Queue()
    for share in shares_of_gpus(launch.parallel):
        devices.put(share)

    def run(job: Job) -> None:
        share = devices.get()
        try:
            _run(job, launch, share)
        finally:
            devices.put(share)
        ended(job)

    with ThreadPoolExecutor(launch.parallel) as pool:
        list(pool.map(run, jobs))


def shares_of_gpus(parallel: int) -> list[str | None]:
    """`CUDA_VISIBLE_DEVICES` of each of `parallel` cells; `None` leaves it as it is."""
    if parallel == 1:
        return [None]
    stated = os.environ.get("CUDA_VISIBLE_DEVICES")
    if stated is None:
        import torch

        visible = [str(number) for number in range(torch.cuda.device_count())]
    else:
        visible = [name for name in stated.split(",") if name.strip()]
    each = len(visible) // parallel
    return [",".join(visible[at * each : (at + 1) * each]) if each else None for at in range(parallel)]


def _run(job: Job, launch: Launch, share: str | None) -> None:
    job.folder.mkdir(parents=True, exist_ok=True)
    (job.folder / FAILURE).unlink(missing_ok=True)
    environment = dict(os.environ) if share is None else {**os.environ, "CUDA_VISIBLE_DEVICES": share}
    with (job.folder / LOG).open("w", encoding="utf-8") as log:
        done = subprocess.run(
            launch.command(job.words),
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            # A cell that outlived a killed sweep would hold the folder that the next sweep needs.
            preexec_fn=partial(die_with_parent, signal.SIGTERM) if sys.platform == "linux" else None,
            check=False,
        )
    if done.returncode != 0:
        said = (job.folder / LOG).read_text(encoding="utf-8", errors="replace").strip()
        (job.folder / FAILURE).write_text(said[-_LAST_WORDS:].split("\n\n")[-1] + "\n", encoding="utf-8")
