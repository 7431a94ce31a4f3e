"""The rounds of a loop: a table in the terminal, and `loop.png`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alignment.evaluation.table import shown
from alignment.files import replacing
from alignment.report.loop_facts import Number, series

PICTURE = "loop.png"


def print_rounds(rounds: list[dict[str, Any]], *, name: str) -> None:
    """One column a round, and one row a number, with its 95 % interval."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"{name}, by round", title_justify="left")
    columns = range(len(rounds) + 1)
    for heading in ("", "base", *(f"round {at}" for at in columns[1:])):
        table.add_column(heading, justify="right" if heading else "left")
    table.add_row("prompts", "", *(str(facts["pairs"]["prompts"]) for facts in rounds))
    table.add_row("pairs to train on", "", *(str(facts["pairs"]["train"]) for facts in rounds))
    for label, numbers in series(rounds).items():
        table.add_row(label, *(Text(shown(numbers.get(at))) for at in columns))
    alarms = [f"round {facts['round']}: {', '.join(found)}" for facts in rounds if (found := _alarms(facts))]
    table.caption = "Brackets: 95 % interval." + (f" Alarms: {'; '.join(alarms)}." if alarms else "")
    Console().print(table)


def draw_rounds(folder: Path, rounds: list[dict[str, Any]]) -> None:
    """Write the picture of every share by round, with intervals, to `folder`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for label, numbers in series(rounds).items():
        shares = {at: _share(number) for at, number in numbers.items() if number["unit"] in ("share", "percent")}
        if shares:
            values = [value for value, _, _ in shares.values()]
            ends = [[below for _, below, _ in shares.values()], [above for _, _, above in shares.values()]]
            axes.errorbar(list(shares), values, yerr=ends, marker="o", capsize=3, linewidth=1.6, label=label)
    axes.set_xticks(range(len(rounds) + 1), ["base", *(f"round {facts['round']}" for facts in rounds)])
    axes.set_ylim(-0.02, 1.02)
    axes.set_title("share, with 95 % interval")
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[1]:
        axes.legend()
    with replacing(folder / PICTURE) as partial:
        figure.savefig(partial, format="png", dpi=110)


def _share(number: Number) -> tuple[float, float, float]:
    """A value from 0 to 1, and how far its interval reaches below and above."""
    scale = 100 if number["unit"] == "percent" else 1
    value = number["value"] / scale
    low, high = (bound / scale for bound in number["ci"] or (number["value"], number["value"]))
    return value, max(0.0, value - low), max(0.0, high - value)


def _alarms(facts: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys(facts.get("train", {}).get("alarms", ())))
