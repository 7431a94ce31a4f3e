"""What a recipe of a loop (`method: loop`) can state. No heavy imports: the recipe check reads this file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from alignment.errors import Fault
from alignment.recipe.evaluation_settings import unknown_suites

LOOP = "loop"
"""The value of `method` in such a recipe."""


@dataclass(frozen=True, kw_only=True)
class LoopArguments:
    """Rounds of pairs, training and evaluation."""

    pairs: dict[str, Any]
    """A recipe of pairs: `extends` names one, and whatever else stands here changes it. Its model answers in the first
    round, and in each later one the model that the round before has trained."""
    train: dict[str, Any]
    """A recipe that trains, in the same form. The data that it names are replaced by the pairs of the round."""
    rounds: int = 2
    """How many. More of them later go on after those that are finished."""
    evaluate: tuple[str, ...] = ()
    """Suites of `make evaluate` after each round, by the `evaluation` and on the data that `train` states. Its
    `sample_evaluation` is measured in any case."""
    start_from: Literal["previous", "base"] = "previous"
    """What the training of a round starts from: the model of the round before, or the base model each time."""
    prompts: Literal["distinct", "same"] = "distinct"
    """`distinct`: each round takes `pairs.prompts.max_rows` other prompts, and begins again once all were asked."""
    min_pairs: int | None = None
    """A round with fewer pairs to train on stops the loop; one optimizer step's (`global_batch_size`) when absent."""
    output_dir: str | None = None
    """Folder of all rounds; `outputs/<recipe>` when absent."""

    def faults(self) -> Iterator[Fault]:
        """Every rule that these values break by themselves."""
        for key, least in (("rounds", 1), ("min_pairs", 1)):
            value = getattr(self, key)
            if value is not None and value < least:
                yield Fault(key=key, value=value, rule=f"must be at least {least}")
        if len(set(self.evaluate)) < len(self.evaluate):
            yield Fault(key="evaluate", value=self.evaluate, rule="names a suite twice", remedy="name it once")
        yield from unknown_suites(self.evaluate, key="evaluate")
