"""`training_curves.png`: what happened in a run, at a glance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

_MARKERS_UP_TO = 40
_TRAIN, _CHOSEN, _REJECTED, _OTHER = "#2f74c0", "#2e9e5b", "#d0524a", "#8f6fc4"


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One metric of `log_history`; its `eval_` twin is drawn beside it, dashed."""

    key: str
    """Name in `log_history`."""
    label: str
    """Name in the legend."""
    color: str
    """Color of both lines."""
    right: bool = False
    """Drawn against a second axis on the right."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One picture of the figure. It is left out when none of its curves was logged."""

    title: str
    """What it shows, with the unit."""
    curves: tuple[Curve, ...]
    """What to draw."""
    limits: tuple[float, float] | None = None
    """Fixed range of the left axis."""


PANELS: tuple[Panel, ...] = (
    Panel(title="loss", curves=(Curve(key="loss", label="loss", color=_TRAIN),)),
    Panel(
        title="rewards",
        curves=(
            Curve(key="rewards/chosen", label="chosen", color=_CHOSEN),
            Curve(key="rewards/rejected", label="rejected", color=_REJECTED),
        ),
    ),
    Panel(
        title="reward margin, chosen minus rejected",
        curves=(Curve(key="rewards/margins", label="margin", color=_TRAIN),),
    ),
    Panel(
        title="share of pairs ranked rightly",
        curves=(Curve(key="rewards/accuracies", label="accuracy", color=_TRAIN),),
        limits=(-0.03, 1.03),
    ),
    Panel(
        title="log-probability, as logged",
        curves=(
            Curve(key="logps/chosen", label="chosen", color=_CHOSEN),
            Curve(key="logps/rejected", label="rejected", color=_REJECTED),
        ),
    ),
    Panel(
        title="share of tokens predicted rightly",
        curves=(Curve(key="mean_token_accuracy", label="token accuracy", color=_TRAIN),),
        limits=(-0.03, 1.03),
    ),
    Panel(title="entropy, nats per token", curves=(Curve(key="entropy", label="entropy", color=_TRAIN),)),
    Panel(
        title="gradient norm and learning rate",
        curves=(
            Curve(key="grad_norm", label="gradient norm", color=_TRAIN),
            Curve(key="learning_rate", label="learning rate", color=_OTHER, right=True),
        ),
    ),
)


def plot_curves(log_history: Sequence[Mapping[str, Any]], path: Path, *, title: str = "") -> None:
    """Draw every logged curve of a run into a PNG; a run that logged nothing says so there.

    Args:
        log_history: `trainer.state.log_history`; entries with a `step` and some metrics.
        path: where the PNG goes.
        title: shown above, such as `gemma2-simpo · SimPO · google/gemma-2-9b-it`.
    """
    panels = [panel for panel in PANELS if any(_logged(log_history, curve) for curve in panel.curves)]
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = 2 if len(panels) == 4 else max(1, min(3, len(panels)))
    rows = max(1, math.ceil(len(panels) / columns))
    figure = Figure(figsize=(4.6 * columns, 3.1 * rows + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(title, fontsize=12, fontweight="bold")
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, panel in zip(grid, panels, strict=False):
        _draw(axes, panel, log_history)
    for unused in grid[len(panels) :]:
        unused.set_axis_off()
    if not panels:
        figure.text(0.5, 0.5, "nothing was logged: the run was shorter than logging_steps", ha="center")
    figure.savefig(path, dpi=120, format="png", metadata={"Software": None})


def series(log_history: Sequence[Mapping[str, Any]], key: str) -> tuple[list[int], list[float]]:
    """Steps and values of one metric, in order; the last value wins where a step was logged twice."""
    points = {
        int(entry["step"]): float(entry[key]) for entry in log_history if "step" in entry and _number(entry.get(key))
    }
    steps = sorted(points)
    return steps, [points[step] for step in steps]


def _logged(log_history: Sequence[Mapping[str, Any]], curve: Curve) -> bool:
    return any(series(log_history, key)[0] for key in (curve.key, f"eval_{curve.key}"))


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _draw(axes: Axes, panel: Panel, log_history: Sequence[Mapping[str, Any]]) -> None:
    lines: list[Line2D] = []
    broken: set[int] = set()
    for curve in panel.curves:
        target = axes.twinx() if curve.right else axes
        for key, label, is_eval in (
            (curve.key, curve.label, False),
            (f"eval_{curve.key}", f"{curve.label} (eval)", True),
        ):
            steps, values = series(log_history, key)
            if not steps:
                continue
            few = len(steps) <= _MARKERS_UP_TO
            lines += target.plot(
                steps,
                values,
                "--" if is_eval else "-",
                color=curve.color,
                label=label,
                linewidth=1.4,
                marker=("s" if is_eval else "o") if few else None,
                markersize=5 if is_eval else 3,
                markerfacecolor="none" if is_eval else curve.color,
            )
            broken |= {step for step, value in zip(steps, values, strict=True) if not math.isfinite(value)}
        if curve.right:
            _style_right(target, curve.color)
    for number, step in enumerate(sorted(broken)):
        mark = axes.axvline(step, color="red", linewidth=1.0, alpha=0.6, label="not finite")
        if number == 0:
            lines.append(mark)
    _style(axes, panel)
    axes.legend(lines, [str(line.get_label()) for line in lines], fontsize=8, frameon=False, loc="best")


def _style(axes: Axes, panel: Panel) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(panel.title, fontsize=10)
    axes.set_xlabel("optimizer step", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(True, alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    if panel.limits is not None:
        axes.set_ylim(*panel.limits)


def _style_right(axes: Axes, color: str) -> None:
    axes.set_ylim(bottom=0.0)
    axes.tick_params(labelsize=8, colors=color)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=True)
    axes.yaxis.get_offset_text().set_fontsize(8)
    axes.spines[["top", "left"]].set_visible(False)
