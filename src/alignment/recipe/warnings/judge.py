"""Which warnings arise of a run, which of them were acknowledged, and how that is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from alignment.recipe.warnings.facts import Facts
from alignment.recipe.warnings.table import WARNINGS


@dataclass(frozen=True, kw_only=True)
class Warned:
    """One warning that arises."""

    name: str
    message: str
    acknowledged: bool
    """The recipe names it, so it is recorded and not told."""


def judged(facts: Facts, acknowledged: Sequence[str]) -> tuple[Warned, ...]:
    """Every warning that arises from what is known."""
    found = ((name, warning.evidence(facts)) for name, warning in WARNINGS.items() if _known(name, facts))
    return tuple(
        Warned(name=name, message=message, acknowledged=name in acknowledged) for name, message in found if message
    )


def lines_of(warned: Sequence[Warned], facts: Facts, acknowledged: Sequence[str]) -> Iterator[str]:
    """What the terminal says: the warnings, how to silence them, and what was acknowledged without need."""
    told = [warning for warning in warned if not warning.acknowledged]
    for warning in told:
        yield f"warning: {warning.name}: {warning.message}."
    if told:
        names = ", ".join([*acknowledged, *(warning.name for warning in told)])
        yield f"To go on without being warned, write acknowledge: [{names}]."
    arisen = {warning.name for warning in warned}
    for name in dict.fromkeys(acknowledged):
        if name not in arisen and _known(name, facts):
            yield f"acknowledge names {name}, which does not arise."


def _known(name: str, facts: Facts) -> bool:
    return all(getattr(facts, fact) is not None for fact in WARNINGS[name].needs)
