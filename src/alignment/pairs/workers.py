"""Several processes, or machines, that share the work: each has every n-th prompt, and a file of its own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import sleep
from typing import TypeVar

from alignment.data.held_folder import held
from alignment.errors import Fault, SetupError

T = TypeVar("T")
_POLL_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class Worker:
    """One of them."""

    rank: int = 0
    """From 0 on; 0 puts the data set together."""
    world: int = 1
    """How many there are."""

    def share(self, items: Iterable[T]) -> Iterator[T]:
        """Those that are this worker's."""
        return islice(items, self.rank, None, self.world)

    def named(self, label: str) -> str:
        """`label`, with which worker it is."""
        return label if self.world == 1 else f"{label}, worker {self.rank + 1} of {self.world}"

    @contextmanager
    def lock(self, folder: Path) -> Iterator[None]:
        """Hold `folder` while this worker writes to it.

        Raises:
            SetupError: another run holds it.
        """
        with held(folder, f".lock-{self.rank}"):
            yield


def this_worker(*, gpus: int = 1) -> Worker:
    """What the launcher made of this process, which from now on sees `gpus` GPUs: its own.

    Raises:
        SetupError: the machine has fewer than its workers need.
    """
    worker = Worker(rank=int(os.environ.get("RANK", "0")), world=int(os.environ.get("WORLD_SIZE", "1")))
    if worker.world > 1:
        os.environ |= own_devices(_devices(), local_rank=int(os.environ.get("LOCAL_RANK", "0")), gpus=gpus)
    return worker


def own_devices(devices: Sequence[str], *, local_rank: int, gpus: int) -> dict[str, str]:
    """The environment of the worker `local_rank` of a machine, which has these GPUs; empty on a CPU.

    Raises:
        SetupError: they are too few.
    """
    if not devices:
        return {}
    own = devices[local_rank * gpus : (local_rank + 1) * gpus]
    if len(own) < gpus:
        rule = f"are too few: {gpus} for each worker, of which this is number {local_rank + 1}"
        raise SetupError(Fault(key="GPUs", value=", ".join(devices), rule=rule, remedy="lower NPROC"))
    return {"CUDA_VISIBLE_DEVICES": ",".join(own), "LOCAL_RANK": "0"}


def _devices() -> list[str]:
    """The GPUs that this process sees, as `CUDA_VISIBLE_DEVICES` names them. Does not touch them."""
    import torch

    count = torch.cuda.device_count()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return [str(at) for at in range(count)] if visible is None else visible.split(",")[:count]


def wait_until(done: Callable[[], bool]) -> None:
    """Wait for the others; the launcher ends this process when one of them fails."""
    while not done():
        sleep(_POLL_SECONDS)
