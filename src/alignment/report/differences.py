"""What sets runs apart: settings of their recipes, and their metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alignment.evaluation.interval import wilson
from alignment.output.finished_run import FinishedRun
from alignment.report.formatting import shown
from alignment.report.sections import METRICS

_PLACES = frozenset({"output_dir", "hub_model_id", "run_name"})
"""Keys that say where a run goes; they differ always, and explain nothing."""


def differing_settings(recipes: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """`(key, value of the first, ...)` for every key that not all state alike; `-` where it is absent."""
    flat = [dict(_flat(recipe)) for recipe in recipes.values()]
    keys = list(dict.fromkeys(key for recipe in flat for key in recipe))
    return [
        (key, *(shown(recipe[key]) if key in recipe else "-" for recipe in flat))
        for key in keys
        if key not in _PLACES and any(recipe.get(key, _ABSENT) != flat[0].get(key, _ABSENT) for recipe in flat)
    ]


_ABSENT = object()


def _flat(settings: Any, key: str = "") -> list[tuple[str, Any]]:
    """Dotted keys of nested settings."""
    if isinstance(settings, Mapping) and settings:
        return [pair for name, item in settings.items() for pair in _flat(item, f"{key}.{name}" if key else str(name))]
    return [(key, settings)]


def metric_table(runs: Mapping[str, FinishedRun]) -> list[tuple[str, ...]]:
    """`(metric, value of the first, ...)` of the held-out metrics, and of the last step where nothing was held out."""
    rows = []
    for key, words in METRICS.items():
        cells = [_held_out(run, key) for run in runs.values()]
        if any(cell != "-" for cell in cells):
            rows.append((f"{words}, held out", *cells))
        cells = [_last(run.logged(key)) for run in runs.values()]
        if any(cell != "-" for cell in cells):
            rows.append((f"{words}, last training step", *cells))
    return rows


def _held_out(run: FinishedRun, key: str) -> str:
    value = run.results.get(f"eval_{key}")
    if value is None:
        return "-"
    rows = run.manifest["data"]["rows"]["test"]
    if key == "rewards/accuracies" and rows:
        low, high = wilson(value, rows)
        return f"{shown(value)} [{low:.3f}, {high:.3f}]"
    return shown(value)


def _last(values: Sequence[float]) -> str:
    return shown(values[-1]) if values else "-"
