"""What a person sees while waiting: bars that redraw themselves in a terminal, plain lines in a log."""

from __future__ import annotations

import io
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress

LOG_SECONDS = 10
"""In a log, the libraries' own bars (loading, tokenizing, downloading) report after so long, and then so often."""


def in_terminal() -> bool:
    """Whether somebody watches. With either stream in a file or a pipe (`| tee`), bars would only clutter it."""
    return sys.stdout.isatty() and sys.stderr.isatty()


def clock(seconds: float) -> str:
    """`1:34`, or `2:03:04` from an hour on."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def pace(seconds: float, done: int, total: int) -> str:
    """Time spent on `done` of `total` and, at the same rate, left: `1:34, 1:38 left`."""
    left = f", {clock(seconds * (total - done) / done)} left" if 0 < done < total else ""
    return clock(seconds) + left


@contextmanager
def counted(label: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """A bar, or a line every tenth, over `total` things; yields what is called with the number just done."""
    if in_terminal():
        with _bar(unit) as bar:
            task = bar.add_task(label, total=total)
            yield lambda count: bar.advance(task, count)
        return
    started, done = time.monotonic(), 0

    def advance(count: int) -> None:
        nonlocal done
        before, done = done, done + count
        if 10 * before // total < 10 * done // total:
            print(f"{label}: {done}/{total} {unit}  {pace(time.monotonic() - started, done, total)}", flush=True)

    print(f"{label}: {total} {unit} ...", flush=True)
    yield advance


def _bar(unit: str) -> Progress:
    from rich import progress

    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn(f"{unit}, elapsed"),
        progress.TimeElapsedColumn(),
        progress.TextColumn("left"),
        progress.TimeRemainingColumn(),
    )


def tidy_output() -> None:
    """Make this process's output readable; called before any library that draws bars is imported.

    One process draws bars; a log gets every line at once. Left out are two messages of libraries about themselves.
    """
    if os.environ.get("RANK", "0") != "0":
        os.environ["TQDM_DISABLE"] = "1"
    elif not in_terminal():
        os.environ.setdefault("TQDM_DELAY", str(LOG_SECONDS))
        os.environ.setdefault("TQDM_MININTERVAL", str(LOG_SECONDS))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    # peft and TRL still ask under the old name.
    warnings.filterwarnings("ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning)
    # DeepSpeed is imported by accelerate even where it is not used.
    logging.getLogger("DeepSpeed").addFilter(lambda record: "Setting accelerator to CPU" not in record.getMessage())
