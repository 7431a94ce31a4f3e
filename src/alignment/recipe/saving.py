"""Rules about when checkpoints are saved, and what a recipe's saves will write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from alignment.errors import Fault
from alignment.recipe.settings import Settings

SAVE_EVERY_MINUTES = "save_every_minutes"


def _by_time(s: Settings) -> Iterator[Fault]:
    if not s.sound(SAVE_EVERY_MINUTES) or s.stated.get(SAVE_EVERY_MINUTES) is None:
        return
    for key in ("save_steps", "save_strategy", "load_best_model_at_end"):
        value = s.stated.get(key)
        if s.sound(key) and value not in (None, False, "no"):
            yield Fault(
                key=key,
                value=value,
                rule=f"contradicts {SAVE_EVERY_MINUTES} {s[SAVE_EVERY_MINUTES]:g}",
                remedy=f"remove it, or set {SAVE_EVERY_MINUTES}: null",
            )


SAVING_RULES = (_by_time,)


def save_arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    """What the Trainer is told when the clock decides: nothing else saves."""
    return {} if values.get(SAVE_EVERY_MINUTES) is None else {"save_strategy": "no"}
