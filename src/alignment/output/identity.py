"""What makes a run this run: its recipe, rows, tokenizer, chat template and the weights it starts from.

A checkpoint goes on, and a finished folder counts as this recipe's, only where all of them are the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from alignment.errors import Fault

NAMES: Mapping[str, tuple[str, str]] = {
    "rows": ("the data", "its rows are"),
    "tokenizer": ("the tokenizer", "it, or its chat template, is"),
    "base_weights": ("model_name_or_path", "its weights are"),
}
"""Parts of an identity beside the recipe: the key that a message names, and the words for it."""


def run_identity(recipe: Mapping[str, Any], *, rows: str, tokenizer: str, base_weights: str) -> dict[str, Any]:
    """The identity of a run as plain JSON: the recipe as stated, and one digest for each of `NAMES`."""
    return {
        "recipe": dict(recipe),
        "rows": rows,
        "tokenizer": tokenizer,
        "base_weights": base_weights,
    }


def differences(
    before: Mapping[str, Any], now: Mapping[str, Any], *, what: str, remedy: str, keys: Iterable[str] = NAMES
) -> Iterator[Fault]:
    """A fault for every one of `keys` that differs between two identities.

    Args:
        what: which run the first one belongs to, such as `checkpoint-6 in outputs/x was trained on`.
        remedy: what to do about it.
    """
    for key in keys:
        if key in before and before[key] != now.get(key):
            name, subject = NAMES[key]
            yield Fault(key=name, rule=f"has changed: {subject} not what {what}", remedy=remedy)
