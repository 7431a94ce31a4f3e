"""All that a run says of itself at its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alignment.files import replacing, write_text
from alignment.output.folder import CARD, CURVES, MANIFEST, RunFolder
from alignment.recipe import Recipe
from alignment.report.card import build_card
from alignment.report.curves import plot_curves
from alignment.report.manifest import build_manifest, write_manifest
from alignment.trainers.reporting import ReportingTrainer

UNTIMED = {"started": "", "train_seconds": 0.0, "samples_per_second": 0.0, "wall_seconds": 0.0}
"""The times of a run that has not begun."""


def report(
    recipe: Recipe,
    trainer: ReportingTrainer,
    splits: Any,
    folder: RunFolder,
    timing: Mapping[str, Any],
    links: Mapping[str, str],
    guards: Mapping[str, Any],
    *,
    finished: bool = True,
) -> None:
    """Curves, manifest and, from these files, the card: the last file, with which the run counts as finished."""
    with replacing(folder.path / CURVES) as picture:
        plot_curves(trainer.state.log_history, picture, title=f"{recipe.name} ({recipe.method})")
    manifest = build_manifest(
        recipe,
        trainer=trainer,
        splits=splits,
        timing=timing,
        attention_backend=trainer.attention_backend,
        batch=trainer.batch_facts,
        tracking=links,
        guards=guards,
        resumed_from=folder.resume_from.name if folder.resume_from else None,
    )
    write_manifest(folder.path / MANIFEST, manifest)
    if finished:
        write_text(folder.path / CARD, str(build_card(folder.path)))
