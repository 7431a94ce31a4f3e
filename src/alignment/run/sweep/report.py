"""What a sweep found: a table in the terminal, `sweep.json`, and a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignment.files import replacing
from alignment.redaction import write_portable
from alignment.run.sweep.grid import Stage
from alignment.run.sweep.outcome import Outcome, ranked

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RESULTS, PICTURE = "sweep.json", "sweep.png"


def write_results(folder: Path, base: dict[str, Any], outcomes: Sequence[Outcome], best: Outcome | None) -> None:
    """`{"recipe": settings without the grid, "best": name, "cells": [...]}`, the best cell first."""
    cells = [{**asdict(outcome), "settings": dict(outcome.settings)} for outcome in ranked(outcomes)]
    write_portable(folder / RESULTS, {"recipe": base, "best": best and best.name, "cells": cells})


def print_table(outcomes: Sequence[Outcome]) -> None:
    """The best cell first; what failed or collapsed last, with the reason."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Sweep", title_justify="left")
    keys = list(dict.fromkeys(key for outcome in outcomes for key, _ in outcome.settings))
    for key in keys:
        table.add_column(key, overflow="fold")
    for name in ("evaluation", "accuracy", "margin", "loss"):
        table.add_column(f"{name}{', held out' if name != 'evaluation' else ''}", justify="right")
    table.add_column("state", overflow="fold")
    for outcome in ranked(outcomes):
        settings = dict(outcome.settings)
        numbers = (_shown(outcome.measured), _accuracy(outcome), _shown(outcome.margin), _shown(outcome.loss))
        state = f"{outcome.state}: {outcome.why}" if outcome.why else outcome.state
        table.add_row(*(Text(settings.get(key, "")) for key in keys), *numbers, Text(state))
    Console().print(table)


def draw_picture(folder: Path, stages: Sequence[Stage], outcomes: Sequence[Outcome]) -> None:
    """One panel for each stage: a line over one key, a heat map over two, and one heat map for each value of more."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [panel for stage in stages for panel in _panels(stage, outcomes)]
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(5 * columns, 4 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, (stage, title, cells) in zip(grid, panels, strict=False):
        _draw(axes, stage, title, cells)
    for unused in grid[len(panels) :]:
        unused.set_axis_off()
    with replacing(folder / PICTURE) as partial:
        figure.savefig(partial, format="png", dpi=110)


Values = dict[tuple[str, ...], float]


def _panels(stage: Stage, outcomes: Sequence[Outcome]) -> list[tuple[Stage, str, Values]]:
    """Two keys to a panel, the first ones; further keys have a panel for each of their combinations."""
    shown, keys = stage[:2], [axis.key for axis in stage]
    groups: dict[str, Values] = {}
    for outcome in outcomes:
        last = dict(outcome.settings[-len(keys) :])
        if list(last) != keys:
            continue
        title = ", ".join(f"{axis.key} {last[axis.key]}" for axis in stage[2:])
        groups.setdefault(title, {})[tuple(last[axis.key] for axis in shown)] = _score(outcome)
    return [(shown, title, cells) for title, cells in groups.items()] or [(shown, "", {})]


def _draw(axes: Axes, stage: Stage, title: str, cells: Values) -> None:
    if len(stage) == 1:
        (axis,) = stage
        axes.plot(list(axis.values), [cells.get((value,), math.nan) for value in axis.values], "o-", color="#2f74c0")
        axes.set_xlabel(axis.key)
        axes.grid(True, alpha=0.3)
    else:
        down, across = stage
        values = [[cells.get((row, column), math.nan) for column in across.values] for row in down.values]
        axes.imshow(values, cmap="viridis", aspect="auto")
        axes.set_xticks(range(len(across.values)), across.values)
        axes.set_yticks(range(len(down.values)), down.values)
        axes.set_xlabel(across.key)
        axes.set_ylabel(down.key)
        for at, row in enumerate(values):
            for to, value in enumerate(row):
                text = "-" if math.isnan(value) else f"{value:.3g}"
                box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none"}
                axes.text(to, at, text, ha="center", va="center", bbox=box)
    axes.set_title(title or _WHAT, fontsize=10)


_WHAT = "evaluation, else held-out accuracy, else minus held-out loss"


def _score(outcome: Outcome) -> float:
    """The first number of the rank that was measured."""
    return next((value for value in outcome.rank if math.isfinite(value)), math.nan)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _accuracy(outcome: Outcome) -> str:
    if outcome.accuracy is None or outcome.accuracy_interval is None:
        return _shown(outcome.accuracy)
    low, high = outcome.accuracy_interval
    return f"{outcome.accuracy:.3f} [{low:.3f}, {high:.3f}]"
