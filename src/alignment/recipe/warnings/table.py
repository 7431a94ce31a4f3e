"""All warnings by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from alignment.recipe.warnings import data, settings
from alignment.recipe.warnings.facts import Facts


class Warning(NamedTuple):
    """One thing to be warned of."""

    evidence: Callable[[Facts], str | None]
    """What was found, why it matters and what to do, as one sentence; `None` when there is nothing to warn of."""
    needs: tuple[str, ...] = ()
    """Facts without which it cannot be judged."""


WARNINGS: Mapping[str, Warning] = {
    "high-learning-rate": Warning(settings.high_learning_rate),
    "low-learning-rate": Warning(settings.low_learning_rate),
    "lora-at-full-rate": Warning(settings.lora_at_full_rate),
    "unusual-beta": Warning(settings.unusual_beta),
    "unusual-margin": Warning(settings.unusual_margin),
    "no-warmup": Warning(settings.no_warmup),
    "rounded-updates": Warning(settings.rounded_updates),
    "unusual-batch": Warning(settings.unusual_batch, needs=("batch",)),
    "few-steps": Warning(settings.few_steps, needs=("steps",)),
    "many-epochs": Warning(settings.many_epochs, needs=("epochs",)),
    "rare-logging": Warning(settings.rare_logging, needs=("steps",)),
    "longer-chosen": Warning(data.longer_chosen, needs=("chosen_tokens", "rejected_tokens")),
    "no-generation-prompt": Warning(data.no_generation_prompt, needs=("header",)),
    "base-model": Warning(data.base_model, needs=("own_template",)),
    "evaluation-in-training": Warning(data.evaluation_in_training, needs=("rows",)),
    "repeated-rows": Warning(data.repeated_rows, needs=("rows",)),
}
