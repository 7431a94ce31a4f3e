"""Rules between the keys of reward modeling."""

from __future__ import annotations

from collections.abc import Iterator

from alignment.errors import Fault
from alignment.recipe.settings import Settings


def _rows(s: Settings) -> Iterator[Fault]:
    if s.sound("train_sampling_strategy") and s["train_sampling_strategy"] == "group_by_length":
        yield Fault(
            key="train_sampling_strategy",
            value="group_by_length",
            rule="is not available for reward, whose rows have two lengths",
            remedy="write random or sequential",
        )


REWARD_RULES = (_rows,)
