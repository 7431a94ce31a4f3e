"""What a recipe states about making pairs of scored answers. No heavy imports: the recipe check reads this file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from alignment.errors import Fault


@dataclass(frozen=True, kw_only=True)
class SelectionSettings:
    """Which answers to one prompt become a pair; `alignment.data.selection` applies it.

    Whatever is set, the rejected answer scores below the chosen one and reads differently, and no answer is empty.
    """

    rule: Literal["best_worst", "best_random", "best_against_each", "all_pairs"] = "best_worst"
    """What the best answer is put against: the worst, a random worse one, or each worse one; or every answer against
    each worse one. The last two give as many pairs as there are; `share_answers: true` computes each answer once."""
    pairs_per_prompt: int = 1
    """Most pairs of one prompt; each is chosen by the rule among the answers that the earlier ones left."""
    min_margin: float = 0.0
    """Least lead in score of the chosen answer."""
    min_chosen_score: float | None = None
    """Least score of the chosen answer: a prompt whose best answer is worse gives no pair."""
    max_length_ratio: float | None = None
    """Most that the longer answer of a pair may measure, in characters, over the shorter one."""
    length_control: Literal["none", "matched", "balanced"] = "none"
    """`matched` rejects, of all answers that the other settings allow, the one nearest in length to the chosen one.
    `balanced` puts the pairs of a prompt by turns against a longer and a shorter answer, so that length says nothing;
    which comes first is drawn."""
    unfinished: Literal["keep", "drop", "never_chosen"] = "keep"
    """Answers that ran into the token limit: as any other, in no pair, or in pairs as the rejected one only."""
    seed: int = 0
    """Seed of what is drawn."""

    @property
    def takes_every(self) -> bool:
        """Whether the rule gives every pair that the other settings allow."""
        return self.rule in ("best_against_each", "all_pairs")

    def faults(self, key: str = "selection") -> Iterator[Fault]:
        """Every rule that these values break, for the recipe check."""
        if self.pairs_per_prompt < 1:
            yield Fault(key=f"{key}.pairs_per_prompt", value=self.pairs_per_prompt, rule="must be at least 1")
        if self.takes_every and (self.pairs_per_prompt != 1 or self.length_control != "none"):
            yield Fault(
                key=f"{key}.rule",
                value=self.rule,
                rule="takes every pair, so pairs_per_prompt and length_control have no effect",
                remedy="remove them",
            )
        if self.min_margin < 0:
            yield Fault(
                key=f"{key}.min_margin",
                value=self.min_margin,
                rule="must not be negative",
                remedy="0 takes any lead in score",
            )
        if self.max_length_ratio is not None and self.max_length_ratio < 1:
            yield Fault(
                key=f"{key}.max_length_ratio",
                value=self.max_length_ratio,
                rule="must be at least 1, since the longer answer is measured over the shorter one",
                remedy="1.5 lets the longer one be half as long again",
            )
        if self.length_control == "matched" and self.rule == "best_random":
            yield Fault(
                key=f"{key}.length_control",
                value="matched",
                rule="picks the rejected answer by its length, and rule: best_random by chance",
                remedy="keep one of the two",
            )
