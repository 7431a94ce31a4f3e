"""The curves of one run, or of several over each other, as interactive charts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from alignment.report.curves import PANELS, Curve, Panel, series

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

RUN_COLORS = ("#3b7dd8", "#e07b39", "#3a9d5d", "#b0499b", "#8a6d3b", "#c0392b", "#16a0a0", "#7a6fd0")
_ALARM = "#d62728"
_DASHES = ("solid", "dot")
HEIGHT = 280
"""Pixels, without the legend."""


@dataclass(frozen=True, kw_only=True)
class Logged:
    """What a chart needs of a run."""

    name: str
    log_history: Sequence[Mapping[str, Any]]
    alarms: Sequence[Mapping[str, Any]] = ()
    """`[{"name", "step", "message"}]`."""


def charts(runs: Sequence[Logged]) -> list[str]:
    """One piece of HTML for each panel that some run logged. The page must bring plotly.js along.

    One run has a color for each curve; several have a color each, and a line style for each curve.
    """
    figures = (figure(panel, runs) for panel in PANELS)
    return [_html(drawn) for drawn in figures if drawn is not None]


def figure(panel: Panel, runs: Sequence[Logged]) -> Figure | None:
    """The chart of a panel; `None` when no run logged any of its curves."""
    from plotly.graph_objects import Figure, Scatter

    lines = [Scatter(**line) for line in _lines(panel, runs)]
    if not lines:
        return None
    drawn = Figure(lines)
    drawn.update_layout(
        title={"text": panel.title, "font": {"size": 15}},
        height=HEIGHT + 18 * len(lines),
        margin={"l": 56, "r": 56, "t": 44, "b": 40},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "y": -0.32},
        hovermode="x unified",
        xaxis={"title": {"text": "optimizer step", "standoff": 6}, **_whole_steps(lines)},
        yaxis={"range": panel.limits},
        yaxis2={
            "overlaying": "y",
            "side": "right",
            "rangemode": "tozero",
            "showgrid": False,
            "exponentformat": "power",
        },
    )
    for step, told in _marks(panel, runs):
        drawn.add_vline(x=step, line={"color": _ALARM, "width": 1, "dash": "dash"}, annotation_text=told)
    return drawn


def _whole_steps(lines: Sequence[Any]) -> dict[str, int]:
    """No ticks between the steps of a short run."""
    return {"dtick": 1} if max(max(line.x) for line in lines) <= 10 else {}


def _lines(panel: Panel, runs: Sequence[Logged]) -> Iterator[dict[str, Any]]:
    for number, run in enumerate(runs):
        color = RUN_COLORS[number % len(RUN_COLORS)] if len(runs) > 1 else None
        for curve, dash in zip(panel.curves, _DASHES, strict=False):
            for evaluated in (False, True):
                line = _line(run, curve, color=color, dash=dash, evaluated=evaluated)
                if line is not None:
                    yield line


def _line(run: Logged, curve: Curve, *, color: str | None, dash: str, evaluated: bool) -> dict[str, Any] | None:
    """Several runs tell each other apart by color, so `dash` tells the curves apart."""
    steps, values = series(run.log_history, f"eval_{curve.key}" if evaluated else curve.key)
    if not steps:
        return None
    label = f"{curve.label} (eval)" if evaluated else curve.label
    style = {"color": color or curve.color, "dash": dash if color else "solid", "width": 1 if evaluated else 2}
    return {
        "x": steps,
        "y": [value if math.isfinite(value) else None for value in values],
        "name": label if color is None else f"{run.name}: {label}",
        "mode": "lines+markers" if evaluated or len(steps) == 1 else "lines",
        "line": style,
        "marker": {"symbol": "square-open" if evaluated else "circle", "size": 8},
        "yaxis": "y2" if curve.right else "y",
    }


def _marks(panel: Panel, runs: Sequence[Logged]) -> Iterator[tuple[int, str]]:
    """Steps with an alarm, or with a value that is not finite, and what is written there."""
    for run in runs:
        whose = f"{run.name}: " if len(runs) > 1 else ""
        for alarm in run.alarms:
            yield alarm["step"], f"{whose}{alarm['name']}"
        keys = [f"{prefix}{curve.key}" for curve in panel.curves for prefix in ("", "eval_")]
        broken = {
            step
            for key in keys
            for step, value in zip(*series(run.log_history, key), strict=True)
            if not math.isfinite(value)
        }
        yield from ((step, f"{whose}not finite") for step in sorted(broken))


def _html(drawn: Figure) -> str:
    from plotly.io import to_html

    config = {"responsive": True, "displayModeBar": False}
    return str(to_html(drawn, full_html=False, include_plotlyjs=False, config=config))
