"""`pairs.png`: what a data set of pairs is like, at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from alignment.files import replacing
from alignment.pairs.statistics import Statistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PICTURE = "pairs.png"
_ALL, _CHOSEN, _REJECTED = "#1f4e79", "#2a7f4f", "#c0504d"
_BINS = 40


def draw_picture(folder: Path, statistics: Statistics) -> None:
    """Write the picture of score gaps, lengths and wins to `folder`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7), layout="constrained")
    FigureCanvasAgg(figure)
    (gaps, lengths), (wins, scores) = figure.subplots(2, 2)
    _histograms(
        gaps,
        "score gaps",
        [("best - worst, prompts", statistics.spreads, _ALL), ("chosen - rejected, pairs", statistics.leads, _CHOSEN)],
    )
    _histograms(
        lengths,
        "length in characters, pairs",
        [("chosen", statistics.chosen_lengths, _CHOSEN), ("rejected", statistics.rejected_lengths, _REJECTED)],
    )
    _wins(wins, statistics)
    _scores(scores, statistics)
    with replacing(folder / PICTURE) as partial:
        figure.savefig(partial, format="png", dpi=110)


def _histograms(axes: Axes, title: str, parts: Sequence[tuple[str, Sequence[float], str]]) -> None:
    """Over the same bins."""
    ends = [end for _, values, _ in parts for end in (min(values), max(values))]
    for label, values, color in parts:
        axes.hist(
            values, bins=_BINS, range=(min(ends), max(ends)), histtype="step", linewidth=1.6, color=color, label=label
        )
    axes.set_title(title)
    axes.legend()


def _wins(axes: Axes, statistics: Statistics) -> None:
    """How often each draw is chosen and rejected."""
    places = range(len(statistics.draws))
    axes.bar([at - 0.2 for at in places], [draw.chosen for draw in statistics.by_draw], 0.4, color=_CHOSEN)
    axes.bar([at + 0.2 for at in places], [draw.rejected for draw in statistics.by_draw], 0.4, color=_REJECTED)
    axes.set_xticks(list(places), [draw.name for draw in statistics.draws], rotation=30, ha="right")
    axes.set_title("chosen and rejected, by seed")


def _scores(axes: Axes, statistics: Statistics) -> None:
    places = list(range(1, len(statistics.draws) + 1))
    axes.boxplot([draw.scores for draw in statistics.by_draw], positions=places, showfliers=False)
    axes.set_xticks(places, [draw.name for draw in statistics.draws], rotation=30, ha="right")
    axes.set_title("scores, by seed")
