"""Checked rows in the shape that TRL's trainers take: explicit prompts, so that nothing is left to guess."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset


def to_trl_preference(dataset: Dataset) -> Dataset:
    """Preference rows for `DPOTrainer`: `prompt`, `chosen`, `rejected`, each a list of messages."""
    return dataset.select_columns(["prompt", "chosen", "rejected"])


def to_trl_conversation(dataset: Dataset) -> Dataset:
    """Conversations for `SFTTrainer`: `prompt` (every turn but the last) and `completion` (the last), as
    messages."""
    return dataset.map(_prompt_and_completion, remove_columns=dataset.column_names, desc="Splitting conversations")


def _prompt_and_completion(row: dict[str, Any]) -> dict[str, Any]:
    return {"prompt": row["messages"][:-1], "completion": row["messages"][-1:]}
