"""Rules that several suites of `evaluation:` have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from alignment.errors import Fault
from alignment.recipe.generation_settings import GenerationSettings


def generation_faults(suite: Any, key: str, *, one_seed: bool = False) -> Iterator[Fault]:
    """What is wrong with a suite's own `generation`; `one_seed` where a question takes one answer."""
    settings: GenerationSettings | None = suite.generation
    if settings is None:
        return
    yield from settings.faults(f"{key}.generation")
    if one_seed and len(settings.seeds) > 1:
        rule = "must be one seed, since this benchmark takes one answer to each question"
        yield Fault(key=f"{key}.generation.seeds", value=settings.seeds, rule=rule)


def at_least_one(suite: Any, key: str, *names: str) -> Iterator[Fault]:
    """A fault for every value of `names` that is stated and below 1."""
    for name in names:
        value = getattr(suite, name)
        if value is not None and value < 1:
            yield Fault(key=f"{key}.{name}", value=value, rule="must be at least 1")
