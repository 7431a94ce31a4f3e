"""A recipe in the making: what of a foreign one was carried, and a note of everything that was not carried as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal

from alignment.methods import METHODS
from alignment.recipe.renamed_keys import MOVED, NOT_HERE

Kind = Literal["changed", "added", "dropped", "not carried", "missing", "note"]
_STRATEGIES = ("eval_strategy", "save_strategy", "logging_strategy")
"""Keys of which YAML 1.1 reads the word `no` as false."""


@dataclass(frozen=True, kw_only=True)
class Note:
    """What became of one key."""

    kind: Kind
    key: str
    told: str

    def __str__(self) -> str:
        return f"{self.kind:<12} {self.key}{self.told}"


@dataclass(frozen=True)
class To:
    """The same setting under another name."""

    key: str
    words: Mapping[str, Any] = field(default_factory=dict)
    """Value there: value here, where they differ."""


@dataclass(frozen=True)
class Drop:
    """A setting that changes nothing here, or is not needed."""

    why: str


@dataclass(frozen=True)
class Lost:
    """A setting that matters and that a recipe cannot say."""

    why: str


Table = Mapping[str, To | Drop | Lost]


class Draft:
    """Settings of ours by key, and the notes, made from the foreign settings `left`."""

    def __init__(self, method: str, stated: Mapping[str, Any]) -> None:
        self.method = method
        self.left = dict(stated)
        self.settings: dict[str, Any] = {"method": method}
        self.notes: list[Note] = []

    def take(self, key: str, default: Any = None) -> Any:
        """The foreign value of `key`, which is done with; `default` when it is absent or empty."""
        value = self.left.pop(key, None)
        return default if value is None else value

    def note(self, kind: Kind, key: str, told: str) -> None:
        self.notes.append(Note(kind=kind, key=key, told=told))

    def change(self, old: str, value: Any, new: Mapping[str, Any], why: str = "") -> None:
        """State `new` instead of the foreign `old: value`."""
        self.settings |= new
        became = ", ".join(f"{key}: {shown(item)}" for key, item in new.items())
        self.note("changed", old, f": {shown(value)} -> {became}{f' ({why})' if why else ''}")

    def add(self, key: str, value: Any, why: str) -> None:
        """State what is not said there, but holds there."""
        self.settings[key] = value
        self.note("added", key, f": {shown(value)} ({why})")

    def drop(self, key: str, value: Any, why: str) -> None:
        self.note("dropped", key, f": {shown(value)} ({why})")

    def lose(self, key: str, value: Any, why: str) -> None:
        self.note("not carried", key, f": {shown(value)} ({why})")

    def by_table(self, table: Table) -> None:
        """Everything left that `table` knows."""
        for key in [
            key for key, value in self.left.items() if key in table and (value is not None or key == "torch_dtype")
        ]:
            value, row = self.left.pop(key), table[key]
            if isinstance(row, To):
                word = str(value).lower() if isinstance(value, bool) else str(value)
                self.change(key, value, {row.key: row.words.get(word, value)})
            else:
                (self.drop if isinstance(row, Drop) else self.lose)(key, value, row.why)

    def by_name(self) -> None:
        """Everything left: a key that the method has here, too, is carried; any other is told."""
        known, empty = own_keys(self.method), []
        for key, value in self.left.items():
            if value is None:
                empty.append(key)
            elif key in NOT_HERE:
                self.drop(key, value, NOT_HERE[key])
            elif key in known:
                self.settings[key] = "no" if value is False and key in _STRATEGIES else value
            else:
                self.lose(key, value, MOVED.get(key) or "it has no counterpart here")
        if empty:
            self.note("dropped", ", ".join(empty), ": empty")
        self.left = {}

    def defaults(self, defaults: Mapping[str, Any], why: str) -> None:
        """State what holds there when nothing is said, of the keys that the method has here."""
        known = own_keys(self.method)
        for key, value in defaults.items():
            rivals = {"warmup_ratio": "warmup_steps", "warmup_steps": "warmup_ratio", "num_train_epochs": "max_steps"}
            if key in known and key not in self.settings and rivals.get(key) not in self.settings:
                self.add(key, value, why)


@cache
def own_keys(method: str) -> frozenset[str]:
    """Every top-level key that a recipe of `method` may state."""
    from alignment.recipe.check import ROOT_KEYS
    from alignment.recipe.schema import DataArguments, ModelArguments
    from alignment.recipe.settings import training_hints
    from alignment.recipe.types import hints

    own = {*training_hints(method), *hints(ModelArguments), *hints(DataArguments), *ROOT_KEYS} - set(NOT_HERE)
    return frozenset(key for key in own if key not in MOVED or key in METHODS[method].bounds)


def shown(value: Any, limit: int = 60) -> str:
    """A value on one line of a note, as YAML has it."""
    if isinstance(value, bool) or value is None:
        return "null" if value is None else str(value).lower()
    text = " ".join(str(value).split())
    return text if len(text) <= limit else f"{text[:limit]}…"
