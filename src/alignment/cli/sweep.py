"""`alignment sweep`: train a recipe with several settings."""

from __future__ import annotations

from typing import Annotated

import typer

from alignment.cli.arguments import Config, Words, recipe_and_overrides
from alignment.errors import Fault, SetupError

_KEEP = ("best", "all", "none")


def sweep(
    words: Words = None,
    config: Config = None,
    grid: Annotated[
        str, typer.Option(help='What is tried: "learning_rate=5e-7,1e-6 beta=2.0,2.5", or the order `simpo`.')
    ] = "",
    parallel: Annotated[int, typer.Option(help="Cells at a time; the GPUs are shared out.")] = 1,
    processes: Annotated[int, typer.Option(help="Training processes of a cell.")] = 1,
    accelerate: Annotated[
        str | None, typer.Option(help="File of configs/accelerate that spreads them; none for one process.")
    ] = None,
    keep: Annotated[str, typer.Option(help="Whose weights stay: best, all or none.")] = "best",
) -> int:
    """Train a recipe with several settings and rank them; the same command goes on."""
    source, overrides = recipe_and_overrides(words, config)
    faults = [
        Fault(key=name, value=value, rule="must be at least 1")
        for name, value in (("parallel", parallel), ("processes", processes))
        if value < 1
    ]
    if keep not in _KEEP:
        faults.append(Fault(key="keep", value=keep, rule=f"must be one of {', '.join(_KEEP)}"))
    if faults:
        raise SetupError(faults)
    from alignment.run.sweep.execute import Launch
    from alignment.run.sweep.grid import parse_grid
    from alignment.run.sweep.sweep import sweep as run_sweep

    launch = Launch(processes=processes, accelerate=accelerate, parallel=parallel)
    best = run_sweep(source, overrides, parse_grid(grid), launch=launch, keep=keep)  # type: ignore[arg-type]
    return 0 if best is not None else 1
