"""Tokenised pairs to a padded batch: two rows a pair, chosen rows first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import torch


class SampledPair(TypedDict):
    """A tokenised pair as the samplers hand it to a collator."""

    prompt_ids: list[int]
    chosen_ids: list[int]
    rejected_ids: list[int]
    weight: float
    """1 for a pair that counts, 0 for a filler that only keeps ranks in lock-step."""
    index: int
    """Row of the data set."""


class PaddedPreferenceCollator:
    """`B` pairs to `2B` right-padded rows.

    One pair with prompt `[5, 6]`, chosen `[7, 8]`, rejected `[9]` and pad id 0 gives

        input_ids        [[5, 6, 7, 8], [5, 6, 9, 0]]
        attention_mask   [[1, 1, 1, 1], [1, 1, 1, 0]]
        predictor_index  [1, 2, 5]       flat positions that predict 7, 8 and 9
        targets          [7, 8, 9]
        target_rows      [0, 0, 1]
        weight, index    [1.0], [row]    one entry a pair
        pair_lengths     [(2, 2, 1)]     tokens of prompt, chosen and rejected; stays in Python

    Padding is masked, never inferred from the pad id, so a tokenizer whose pad is its eos is safe.
    """

    def __init__(self, pad_token_id: int) -> None:
        self.pad_token_id = pad_token_id

    def __call__(self, pairs: Sequence[SampledPair]) -> dict[str, Any]:
        sides = [(p["prompt_ids"], p["chosen_ids"]) for p in pairs]
        sides += [(p["prompt_ids"], p["rejected_ids"]) for p in pairs]
        width = max(len(prompt) + len(completion) for prompt, completion in sides)
        input_ids = torch.full((len(sides), width), self.pad_token_id, dtype=torch.long)
        attention_mask = torch.zeros_like(input_ids)
        predictors, targets, rows = [], [], []
        for row, (prompt, completion) in enumerate(sides):
            length = len(prompt) + len(completion)
            input_ids[row, :length] = torch.tensor(prompt + completion)
            attention_mask[row, :length] = 1
            predictors.append(row * width + torch.arange(len(prompt) - 1, length - 1))
            targets.append(input_ids[row, len(prompt) : length])
            rows.append(torch.full((len(completion),), row))
        return {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "predictor_index": torch.cat(predictors),
            "targets": torch.cat(targets),
            "target_rows": torch.cat(rows),
            **pair_columns(pairs),
        }


def pair_columns(pairs: Sequence[SampledPair]) -> dict[str, Any]:
    """What every layout carries a pair: its weight and its row in the data set, each `[B]`, and its lengths.

    The lengths are a list, not a tensor: kernels are launched by them, and reading them back from a GPU would stall
    every micro-step.
    """
    return {
        "pair_lengths": [pair_lengths(pair) for pair in pairs],
        "weight": torch.tensor([p["weight"] for p in pairs], dtype=torch.float32),
        "index": torch.tensor([p["index"] for p in pairs]),
    }


def pair_lengths(pair: SampledPair) -> tuple[int, int, int]:
    """Tokens of the prompt, the chosen and the rejected completion.

    An empty prompt has no state that could predict a first token, and an empty completion has no mean.
    """
    lengths = len(pair["prompt_ids"]), len(pair["chosen_ids"]), len(pair["rejected_ids"])
    if not all(lengths):
        raise ValueError(f"row {pair['index']}: prompt, chosen and rejected have {lengths} tokens; each needs one")
    return lengths
