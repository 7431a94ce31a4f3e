"""Rules between the keys of supervised fine-tuning, which TRL would only state once model and data are loaded."""

from __future__ import annotations

from collections.abc import Iterator

from alignment.errors import Fault
from alignment.recipe.settings import Settings


def _packing(s: Settings) -> Iterator[Fault]:
    longest = s["max_length"]
    if not s.sound("packing", "padding_free", "max_length"):
        return
    if s["packing"] and longest is None:
        yield Fault(
            key="max_length", value="null", rule="must be a number with packing: true", remedy="the length of a row"
        )
    if s["padding_free"] and not s["packing"] and longest is not None:
        yield Fault(
            key="padding_free",
            value=True,
            rule="would not keep to max_length without packing: true",
            remedy="add packing: true, or write max_length: null",
        )


SFT_RULES = (_packing,)
