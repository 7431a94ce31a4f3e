"""What the foreign keys must hold from which something is computed here, whatever their origin."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from alignment.errors import Fault


def _positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _word(value: Any) -> bool:
    return isinstance(value, str)


def _words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _shares(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(_positive(share) for share in value.values())


_KINDS: tuple[tuple[str, Callable[[Any], bool], tuple[str, ...]], ...] = (
    ("a number above 0", _positive, ("beta", "rl_beta", "dpo_beta", "pref_beta", "lora_rank", "num_epochs")),
    ("a number above 0", _positive, ("evals_per_epoch", "saves_per_epoch")),
    ("a number", _number, ("simpo_gamma", "cpo_alpha", "rpo_alpha", "pref_ftx", "dpo_ftx", "val_size", "val_set_size")),
    ("one word", _word, ("adapter", "rl", "stage", "pref_loss", "finetuning_type", "template")),
    ("text", _word, ("chat_template", "chat_template_jinja")),
    ("a list of names", _words, ("dataset_splits", "dataset_configs")),
    ("a mapping of data sets to shares above 0", _shares, ("dataset_mixer",)),
    ("names, by commas or in a list", lambda value: _word(value) or _words(value), ("dataset", "lora_target")),
)
"""What it is, whether a value is one, and the keys."""


def kind_faults(settings: Mapping[str, Any]) -> Iterator[Fault]:
    """Every value that is not what its key needs."""
    for what, holds, keys in _KINDS:
        for key in keys:
            value = settings.get(key)
            if value is not None and not holds(value):
                yield Fault(key=key, value=value, rule=f"must be {what}", remedy="mend the file that is converted")
