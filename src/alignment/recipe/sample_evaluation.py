"""What the recipe key `sample_evaluation:` states. No heavy imports: the recipe check reads this file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from alignment.errors import Fault, did_you_mean

RULE_NAMES = ("house_style",)
"""The keys of `alignment.scoring.rules.RULES`, known without importing it."""


@dataclass(frozen=True, kw_only=True)
class SampleEvaluation:
    """Answers drawn before and after training on the same prompts, and judged by the same rule."""

    prompts: str
    """JSONL file of held-out prompts, rows `{"prompt": str}`; relative to the recipe's own folder."""
    rule: str
    """Key of `alignment.scoring.rules.RULES`: what an answer must satisfy to comply."""
    control_prompts: str | None = None
    """JSONL file, rows `{"prompt": str, "expected": [str, ...]}`: facts whose answer must hold one of the expected
    words. They show damage that the rule cannot see. Relative to the recipe's own folder."""
    samples_per_prompt: int = 4
    """Answers drawn for each prompt."""
    max_new_tokens: int = 96
    """Longest answer in tokens; an answer that gets there has not finished."""
    temperature: float = 0.8
    """Softmax temperature of the draw; 0 is greedy, and then one answer for each prompt is all there is."""
    seed: int = 0
    """Seed of the draw, the same before and after."""
    batch_size: int = 64
    """Answers generated together."""
    show: int = 4
    """Prompts whose answers are printed side by side."""

    def faults(self, key: str = "sample_evaluation") -> Iterator[Fault]:
        """Every rule that these values break, for the recipe check (which adds that the files exist)."""
        if self.rule not in RULE_NAMES:
            yield Fault(
                key=f"{key}.rule",
                value=self.rule,
                rule=f"must be one of {', '.join(RULE_NAMES)}",
                remedy=did_you_mean(self.rule, RULE_NAMES),
            )
        for name in ("samples_per_prompt", "max_new_tokens", "batch_size"):
            value = getattr(self, name)
            if value < 1:
                yield Fault(key=f"{key}.{name}", value=value, rule="must be at least 1")
        if self.show < 0:
            yield Fault(key=f"{key}.show", value=self.show, rule="must not be negative", remedy="0 shows none")
        if self.temperature < 0:
            yield Fault(
                key=f"{key}.temperature", value=self.temperature, rule="must not be negative", remedy="0 is greedy"
            )
        if self.temperature == 0 and self.samples_per_prompt > 1:
            yield Fault(
                key=f"{key}.samples_per_prompt",
                value=self.samples_per_prompt,
                rule="must be 1 when temperature is 0, since greedy answers are all the same",
                remedy="set samples_per_prompt: 1, or a temperature above 0",
            )
