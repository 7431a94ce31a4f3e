"""The stages of a rehearsal, with time and verdict."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass
class Stage:
    """One stage; the code that runs it says what was seen."""

    name: str
    seconds: float = 0.0
    passed: bool = False
    saw: str = ""


class StageFailed(Exception):
    """A stage did not go as it must; the table says which."""


class Stages:
    """Runs stages in order and shows them as a table."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._done: list[Stage] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[Stage]:
        """Time a stage. Whatever it raises fails it: `AssertionError` with what was expected."""
        stage = Stage(name)
        self._done.append(stage)
        self._console.print(f"  {name} ...", highlight=False)
        started = time.monotonic()
        try:
            yield stage
            stage.passed = True
        except Exception as error:
            stage.saw = str(error).partition("\n")[0] or type(error).__name__
            raise StageFailed(f"{name}: {error}") from error
        finally:
            stage.seconds = time.monotonic() - started

    def table(self) -> Table:
        """Name, seconds, verdict and observation of every stage so far."""
        table = Table(title="Rehearsal", title_justify="left")
        table.add_column("stage")
        table.add_column("seconds", justify="right")
        table.add_column("verdict")
        table.add_column("seen")
        for stage in self._done:
            verdict = "[green]passed[/green]" if stage.passed else "[red]FAILED[/red]"
            table.add_row(stage.name, f"{stage.seconds:.1f}", verdict, stage.saw)
        total = sum(stage.seconds for stage in self._done)
        table.add_row("all", f"{total:.1f}", "", "", style="bold")
        return table
