"""The flat view of a checked recipe that the relation rules read: what is stated, and what holds otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import cache
from typing import Any

from alignment.recipe.fields import fields_of
from alignment.recipe.schema import DataArguments, ModelArguments
from alignment.recipe.types import hints

DEFAULTS: dict[str, Any] = {"bf16": False, "report_to": "none"}
"""Ours, whatever the config class says: TRL's turn bf16 on by themselves, which a recipe should not leave unsaid."""
GRADIENT_CHECKPOINTING = "auto"
"""The value of `gradient_checkpointing` that leaves the number of checkpointed layers to the memory at hand."""


class Settings:
    """Values by top-level key. `settings[key]` is the stated value or the default."""

    def __init__(self, method: str | None, stated: Mapping[str, Any], wrong: set[str]) -> None:
        self.method = method
        self.stated = stated
        self._wrong = wrong
        self._defaults = default_values(method) if method else {}

    def __getitem__(self, key: str) -> Any:
        return self.stated[key] if key in self.stated else self._defaults.get(key)

    def sound(self, *keys: str) -> bool:
        """Whether none of `keys` is at fault by itself, so that a rule about them makes sense."""
        return not self._wrong.intersection(keys)

    def changed(self, key: str) -> bool:
        """Whether `key` is stated as something other than its default."""
        return key in self.stated and self.stated[key] != self._defaults.get(key)

    def strategy(self, key: str) -> str:
        """The strategy `key` (`eval_strategy`, ...), `no` when it is wrong."""
        return str(self[key] or "no") if self.sound(key) else "no"


@cache
def training_hints(method: str) -> dict[str, Any]:
    """Keys of the method's config class that a recipe may state, with their types."""
    ours = {*hints(ModelArguments), *hints(DataArguments)}
    declared = {name: kind for name, kind in fields_of(method).types.items() if name not in ours}
    declared |= {"warmup_ratio": float, "gradient_checkpointing_kwargs": dict[str, Any] | None}
    return declared


@cache
def default_values(method: str) -> dict[str, Any]:
    """Defaults of every key that a recipe of `method` may state."""
    values = dict(fields_of(method).defaults)
    for cls in (ModelArguments, DataArguments):
        values |= {field.name: field.default for field in fields(cls) if field.default is not MISSING}
    return values | DEFAULTS
