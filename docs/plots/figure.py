"""How every figure of the documentation looks and is saved: the same bytes from the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt

IMAGES = Path(__file__).parents[1] / "images"
BLUE, ORANGE, GREEN, GRAY = "#3465a4", "#f57900", "#4e9a06", "#babdb6"

matplotlib.use("Agg")
matplotlib.rcParams |= {
    "svg.hashsalt": "alignment",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 10,
    "legend.frameon": False,
}


def panels(count: int, *, width: float, height: float) -> tuple[Any, Sequence[Any]]:
    """A figure of `count` panels side by side, and its axes."""
    figure, axes = plt.subplots(1, count, figsize=(width, height), layout="constrained", squeeze=False)
    return figure, axes[0]


def save(figure: Any, name: str, folder: Path) -> None:
    """Write `name`.svg."""
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)
