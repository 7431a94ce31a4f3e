"""What an alarm is: it sees one log after another, and says once what it found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from alignment.methods import Method

Log = Mapping[str, float]
"""One entry of `log_history`: numbers by name, `step` and `epoch` among them."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """What is known of a run from its start on."""

    method: Method
    steps: int
    """Optimizer steps of the whole run."""
    batch: int
    """Rows of one optimizer step."""
    anchored: bool
    """The loss holds the likelihood of the preferred answer itself, which therefore should not fall."""
    adapters: bool = False
    """LoRA alone is trained."""
    repeats: float = 1.0
    """How often an epoch shows each different row."""
    beta: float = 0.0
    """Scale of the rewards; 0 for a method without."""
    chosen_tokens: float | None = None
    """Mean length of the preferred answers."""
    evaluation_rows: int = 0

    @property
    def rewarded(self) -> bool:
        """Pairs are ranked, and `rewards/...` are logged."""
        return self.method.data == "preference"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What an alarm found."""

    since: int
    """The optimizer step from which on it holds."""
    saw: str
    """The figures, as a sentence part: "the loss is 9.1 after a median of 0.6"."""
    matters: str
    """Why, for this method, as a sentence."""
    try_: str
    """What to do, as a sentence."""

    def __str__(self) -> str:
        return f"since step {self.since} {self.saw}. {self.matters}. {self.try_}."


class Detector(Protocol):
    """One alarm of one run."""

    def see(self, log: Log) -> Finding | None:
        """What `log` and those before it show. It is not asked again once it has found something."""
        ...
