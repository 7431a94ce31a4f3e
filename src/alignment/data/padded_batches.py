"""Tokenized pairs to a padded batch: two rows a pair, chosen rows first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray

TokenIds = Sequence[int] | NDArray[np.int64]


class SampledPair(TypedDict):
    """A tokenized pair as the samplers hand it to a collator."""

    prompt_ids: TokenIds
    chosen_ids: TokenIds
    rejected_ids: TokenIds
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
        input_ids = np.full((len(sides), width), self.pad_token_id)
        attention_mask = np.zeros_like(input_ids)
        predictors = []
        for row, (prompt, completion) in enumerate(sides):
            length = len(prompt) + len(completion)
            input_ids[row, : len(prompt)], input_ids[row, len(prompt) : length] = prompt, completion
            attention_mask[row, :length] = 1
            predictors.append(np.arange(row * width + len(prompt) - 1, row * width + length - 1))
        completions = [completion for _, completion in sides]
        return {
            "input_ids": torch.from_numpy(input_ids),
            "attention_mask": torch.from_numpy(attention_mask),
            "predictor_index": torch.from_numpy(np.concatenate(predictors)),
            "targets": torch.from_numpy(joined(completions)),
            "target_rows": torch.from_numpy(np.arange(len(sides)).repeat([len(ids) for ids in completions])),
            **pair_columns(pairs),
        }


def joined(lists: Sequence[TokenIds]) -> NDArray[np.int64]:
    """Token ids, one list after another."""
    return np.concatenate([np.asarray(ids, dtype=np.int64) for ids in lists])


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
