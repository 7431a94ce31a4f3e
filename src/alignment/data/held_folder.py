"""A folder that one process at a time writes to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from alignment.errors import Fault, SetupError


@contextmanager
def held(folder: Path, name: str) -> Iterator[None]:
    """Hold the lock file `name` of `folder` until the block ends.

    Raises:
        SetupError: another process holds it.
    """
    lock = FileLock(folder / name, blocking=False)
    try:
        lock.acquire()
    except Timeout:
        rule = "is being written by another process"
        remedy = "wait for it, stop it, or choose another --output_dir"
        raise SetupError(Fault(key="output_dir", value=str(folder), rule=rule, remedy=remedy)) from None
    try:
        yield
    finally:
        lock.release()
