"""A limit of time and memory around code that a user supplies: a chat template may loop or grow without end."""

from __future__ import annotations

import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

SECONDS = 5.0
"""What rendering one row may take; it usually takes less than a millisecond."""
MEMORY = 2 * 2**30
"""Bytes of address space that rendering one row may add."""

_PAGE = resource.getpagesize()
_STATM = Path("/proc/self/statm")


class OutOfTime(Exception):
    """The time was up."""


@contextmanager
def bounded() -> Iterator[None]:
    """Stop what runs within after `SECONDS`, and let no allocation grow the process by more than `MEMORY` bytes.

    Time is watched in the main thread alone, where Python delivers signals, and memory on Linux alone; elsewhere the
    code runs unwatched.

    Raises:
        OutOfTime: the time was up.
        MemoryError: an allocation was refused.
    """
    with _time(SECONDS), _memory(MEMORY):
        yield


@contextmanager
def _time(seconds: float) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise OutOfTime(f"did not end within {seconds:g} seconds")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _memory(limit: int) -> Iterator[None]:
    if not _STATM.exists():
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with _STATM.open("rb", buffering=0) as stream:  # for every row: without the cost of text and buffers
        allowed = int(stream.read().split()[0]) * _PAGE + limit
    if soft != resource.RLIM_INFINITY:
        allowed = min(allowed, soft)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
