"""Outcomes as a table, models side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alignment.evaluation.published import published_row

Rows = list[tuple[str, list[str]]]


def print_outcomes(
    outcomes: Sequence[Mapping[str, Any]], *, suites: Sequence[str], published: Sequence[str] = ()
) -> None:
    """One table a suite: a row a metric, a column a model, then those whose figures were published."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    for suite in suites:
        found = [outcome for outcome in outcomes if outcome["suite"] == suite]
        for data in dict.fromkeys(outcome["data"] for outcome in found):
            group = [outcome for outcome in found if outcome["data"] == data]
            table = Table(title=f"{suite}: {data}", title_justify="left")
            table.add_column("")
            for outcome in group:
                table.add_column(Text(outcome["model"]), justify="right")
            rows = metric_rows(group)
            figures = {model: published_row(model, suite) for model in published}
            known = {model: row for model, row in figures.items() if any(name in row for name, _ in rows)}
            for model in known:
                table.add_column(Text(f"{model}, published"), justify="right")
            for name, cells in rows:
                beside = [f"{row[name]:g}" if name in row else "-" for row in known.values()]
                table.add_row(name, *(Text(cell) for cell in [*cells, *beside]))
            table.caption = "\n".join(dict.fromkeys(note for outcome in group for note in outcome["notes"]))
            console.print(table)


def metric_rows(group: Sequence[Mapping[str, Any]]) -> Rows:
    """Metrics in the order in which they come, and what each outcome says of it."""
    by_model = [{metric["name"]: metric for metric in outcome["metrics"]} for outcome in group]
    names = dict.fromkeys(name for metrics in by_model for name in metrics)
    units = {name: next(metrics[name]["unit"] for metrics in by_model if name in metrics) for name in names}
    return [
        (
            name if units[name] in ("share", "percent") else f"{name} ({units[name]})",
            [shown(metrics.get(name)) for metrics in by_model],
        )
        for name in names
    ]


def shown(metric: Mapping[str, Any] | None) -> str:
    """`0.612 [0.590, 0.634]`, or a dash where there is nothing."""
    if metric is None:
        return "-"
    digits = {"share": 3, "percent": 1, "tokens": 0, "characters": 0}.get(metric["unit"], 3)
    value = f"{metric['value']:.{digits}f}"
    if metric["ci"] is None:
        return value
    low, high = (f"{bound:.{digits}f}" for bound in metric["ci"])
    return f"{value} [{low}, {high}]"
