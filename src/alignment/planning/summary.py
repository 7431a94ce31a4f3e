"""Three lines of a plan, kept so that `make check` can show them without planning anew."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignment.files import cache_root, write_json
from alignment.recipe.frozen import thaw

if TYPE_CHECKING:
    from alignment.recipe import Recipe

CPU = "cpu"
"""The name of a plan for a machine without GPUs."""

_PACKAGES = ("torch", "transformers", "peft", "deepspeed")


def summary_of(found: Mapping[str, Any]) -> list[str]:
    """Whether it fits, how many steps, and how long: from what `--json` prints."""
    steps = f"steps: {found['optimizer_steps']:,} of {found['tokens_per_step']:,} tokens; {found['rows']['source']}"
    if found["recommended"] is None:
        return ["fits: in no way that was looked at (make plan says what is missing)", steps]
    best, share = found["options"][found["recommended"]], found["share_of_peak"]
    fits = f"fits: {best['count']} x {best['gpu']} ({best['configuration']}), {best['memory_gib']['total']:.1f} of "
    hours = f"hours: {best['minutes'] / 60:.2g}"
    if best["gpu"] == CPU:
        hours += " on this machine's CPU, answers before and after training apart"
    else:
        hours += f" ({best['gpu_hours']:.3g} GPU-hours) at {share['value']:.0%} of the peak, {share['reason']}"
    return [f"{fits}{best['available_gib']:.1f} GiB each: {found['command']}", steps, hours]


def keep_summary(recipe: Recipe, found: Mapping[str, Any]) -> None:
    """Keep the lines of a plan that looked at everything."""
    path = _path(recipe)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, summary_of(found))


def kept_summary(recipe: Recipe) -> list[str] | None:
    """The lines of the last plan of exactly this recipe, with these packages; light enough for every check."""
    try:
        return list(json.loads(_path(recipe).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


def _path(recipe: Recipe) -> Path:
    known = [thaw(recipe.resolved), *map(_version, _PACKAGES)]
    digest = hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()
    return cache_root() / "plans" / f"{digest}.json"


def _version(name: str) -> str:
    try:
        return version(name)
    except ModuleNotFoundError:  # PackageNotFoundError derives from it
        return ""
