"""What the recipe key `evaluation:` states. No heavy imports: the recipe check reads this file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from alignment.errors import Fault, did_you_mean


@dataclass(frozen=True, kw_only=True)
class PreferenceSuite:
    """Log-probabilities of held-out preference pairs."""

    dataset: str | None = None
    """Hub id, or a local file or folder; the recipe's own data when absent."""
    config: str | None = None
    """Configuration (subset) of `dataset`."""
    revision: str | None = None
    """Branch, tag or commit of `dataset` on the Hub."""
    split: str | None = None
    """Split to take; the recipe's test split when absent, and `test` of another data set."""
    max_rows: int | None = None
    """The first rows only."""
    tokens_per_batch: int = 16_384
    """Tokens computed together."""

    def faults(self, key: str) -> Iterator[Fault]:
        """Every rule that these values break."""
        yield from _at_least_one(self, key, "max_rows", "tokens_per_batch")
        for name in ("config", "revision"):
            if self.dataset is None and getattr(self, name) is not None:
                yield Fault(
                    key=f"{key}.{name}", value=getattr(self, name), rule="belongs to dataset", remedy="state it"
                )


@dataclass(frozen=True, kw_only=True)
class RewardModelSuite:
    """How often a scorer ranks pairs rightly."""

    scorer: str
    """What `alignment.scoring.load_scorer` takes: folder, Hub id, `module:function`, or a judge's address."""
    options: dict[str, Any] = field(default_factory=dict)
    """Settings of that kind of scorer."""
    dataset: str
    """File of rows `{prompt, chosen, rejected, subset?}`, as RewardBench has them."""
    max_rows: int | None = None
    """The first rows only."""

    def faults(self, key: str) -> Iterator[Fault]:
        """Every rule that these values break."""
        yield from _at_least_one(self, key, "max_rows")


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """What `make evaluate` measures. A suite that is not stated has its defaults, where it needs nothing stated."""

    suites: tuple[str, ...] | None = None
    """What runs when no SUITE is named; every suite that is stated when absent."""
    preferences: PreferenceSuite | None = None
    reward_model: RewardModelSuite | None = None

    def faults(self, key: str = "evaluation") -> Iterator[Fault]:
        """Every rule that these values break, for the recipe check (which adds that the files exist)."""
        for name in SUITES:
            suite = getattr(self, name)
            if suite is not None:
                yield from suite.faults(f"{key}.{name}")
        yield from unknown_suites(self.suites or (), key=f"{key}.suites")


SUITES = tuple(entry.name for entry in fields(EvaluationSettings) if entry.name != "suites")
"""Names of the suites, in the order in which they run."""
FILES = ("reward_model.dataset",)
"""Keys that name a file."""


def unknown_suites(names: tuple[str, ...], *, key: str) -> Iterator[Fault]:
    """A fault for every name that is no suite's."""
    for name in names:
        if name not in SUITES:
            yield Fault(key=key, value=name, rule=f"must be of {', '.join(SUITES)}", remedy=did_you_mean(name, SUITES))


def _at_least_one(suite: Any, key: str, *names: str) -> Iterator[Fault]:
    for name in names:
        value = getattr(suite, name)
        if value is not None and value < 1:
            yield Fault(key=f"{key}.{name}", value=value, rule="must be at least 1")
