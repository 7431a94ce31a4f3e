"""Which settings are tried: a grid such as `learning_rate=3e-7,1e-6 gamma_beta_ratio=0.3,0.5`, or an order of grids."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from alignment.errors import Fault, RecipeError, UserError, did_you_mean
from alignment.recipe import Recipe, load_recipe


class Axis(NamedTuple):
    """One key and the values that are tried, as they would stand on a command line."""

    key: str
    values: tuple[str, ...]


Stage = tuple[Axis, ...]
"""Every value of one axis with every value of the others."""

ORDERS: Mapping[str, tuple[Stage, ...]] = {
    "simpo": (
        (Axis("learning_rate", ("3e-7", "5e-7", "8e-7", "1e-6")),),
        (Axis("gamma_beta_ratio", ("0.3", "0.5", "0.8")),),
        (Axis("beta", ("2.0", "2.5", "10")),),
    )
}
"""Stages by name; each keeps the best of the one before. `simpo`: the rate first, as it matters most, then the ratio of
margin and beta, then beta (README of princeton-nlp/SimPO, on tuning; its released models lie in these ranges)."""

_COMMA = re.compile(r",(?![^\[{]*[\]}])")
"""A comma outside brackets and braces."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One combination."""

    settings: tuple[tuple[str, str], ...]
    """Key and value of each axis, and before them what earlier stages have decided."""

    @property
    def name(self) -> str:
        """`learning_rate=5e-7,beta=10`, also the name of its folder."""
        told = ",".join(f"{key}={value}" for key, value in self.settings)
        return re.sub(r"[^\w=.,+-]", "_", told)

    @property
    def overrides(self) -> list[str]:
        """As the command line takes them."""
        return [f"--{key}={value}" for key, value in self.settings]


def parse_grid(text: str) -> tuple[Stage, ...]:
    """The stages of an order's name, or the one stage of `key=value,value key=value,...`.

    Raises:
        RecipeError: it is empty, or a part of it is no key with values, or a key stands twice.
    """
    if text.strip() in ORDERS:
        return ORDERS[text.strip()]
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise RecipeError(_fault(text, f"cannot be read: {error}")) from error
    axes: list[Axis] = []
    faults: list[Fault] = []
    for word in words:
        key, equals, listed = word.partition("=")
        values = tuple(value.strip() for value in _COMMA.split(listed))
        if not equals:
            faults.append(_fault(word, "is neither key=value,value nor an order", did_you_mean(word, ORDERS)))
        elif not key or not all(values):
            faults.append(_fault(word, "has an empty key or value"))
        elif len(set(values)) < len(values):
            faults.append(_fault(word, "names a value twice"))
        elif key in (axis.key for axis in axes):
            faults.append(_fault(key, "stands twice"))
        else:
            axes.append(Axis(key.removeprefix("--"), values))
    if not words:
        faults.append(_fault(text, "names nothing to try"))
    if faults:
        raise RecipeError(faults)
    return (tuple(axes),)


def cells_of(stage: Stage, decided: tuple[tuple[str, str], ...] = ()) -> list[Cell]:
    """All combinations of a stage, the last axis varying fastest."""
    keys = [axis.key for axis in stage]
    return [
        Cell(settings=(*decided, *zip(keys, values, strict=True)))
        for values in itertools.product(*(axis.values for axis in stage))
    ]


def check_cells(source: str, overrides: list[str], stages: tuple[Stage, ...]) -> Recipe:
    """The recipe without the grid, after every combination of every stage has been checked.

    Raises:
        RecipeError: some combination is at fault; each fault once.
    """
    base = load_recipe(source, overrides)
    faults: dict[tuple[str, str], Fault] = {}
    for cell in _all_cells(stages):
        try:
            load_recipe(source, [*overrides, *cell.overrides])
        except UserError as error:
            faults |= {(fault.key, fault.rule): fault for fault in error.faults}
    if faults:
        raise RecipeError(list(faults.values()), where=f"GRID of {base.name}")
    return base


def _all_cells(stages: tuple[Stage, ...]) -> Iterator[Cell]:
    for stage in stages:
        yield from cells_of(stage)


def _fault(value: str, rule: str, remedy: str = "") -> Fault:
    example = 'such as GRID="learning_rate=5e-7,1e-6 beta=2.0,2.5", or GRID=simpo'
    return Fault(key="GRID", value=value, rule=rule, remedy=remedy or example)
