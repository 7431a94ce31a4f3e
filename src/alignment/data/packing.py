"""Tokenised pairs to one packed row in which the two completions of a pair share their prompt.

A pair occupies `prompt chosen rejected`. Positions restart after the prompt for the rejected completion,
which sees the prompt and itself but never the chosen one; the hidden state of the last prompt token
predicts the first token of both. Nothing is padded and no prompt is computed twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch

from .batches import SampledPair, pair_columns, pair_lengths


class PackedPreferenceCollator:
    """`B` pairs to one row of `T = sum(P + C + R)` tokens.

    Two pairs, the first with prompt `[5, 6]`, chosen `[7, 8]`, rejected `[9]`, the second with prompt `[4]`,
    chosen `[7]`, rejected `[8]`, give

        input_ids        [[5, 6, 7, 8, 9, 4, 7, 8]]
        position_ids     [[0, 1, 2, 3, 2, 0, 1, 1]]

        predictor_index  [1, 2, 5, 1, 5]                  the last prompt token (1 and 5) predicts twice
        targets          [7, 8, 7, 9, 8]
        target_rows      [0, 0, 1, 2, 3]                  completions, chosen first, then rejected
        weight, index    [1.0, 1.0], [row, row]           one entry a pair
        pair_lengths     [(2, 2, 1), (1, 1, 1)]           prompt, chosen, rejected tokens

    `pair_lengths` is all that attention needs (`alignment.modeling.attention.SharedPrompts`).
    """

    def __call__(self, pairs: Sequence[SampledPair]) -> dict[str, Any]:
        ids: list[int] = []
        positions: list[int] = []
        for pair in pairs:
            prompt, chosen, rejected = pair["prompt_ids"], pair["chosen_ids"], pair["rejected_ids"]
            ids += [*prompt, *chosen, *rejected]
            positions += [*range(len(prompt) + len(chosen)), *range(len(prompt), len(prompt) + len(rejected))]
        lengths = [pair_lengths(pair) for pair in pairs]
        starts = [0, *accumulate(map(sum, lengths))][:-1]
        predictors, rows = _chosen_then_rejected(lengths, starts)
        completions = [token for side in ("chosen_ids", "rejected_ids") for pair in pairs for token in pair[side]]
        return {
            "input_ids": torch.tensor([ids]),
            "position_ids": torch.tensor([positions]),
            "predictor_index": torch.tensor(predictors),
            "targets": torch.tensor(completions),
            "target_rows": torch.tensor(rows),
            **pair_columns(pairs),
        }


def _chosen_then_rejected(
    lengths: Sequence[tuple[int, int, int]], starts: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Where each completion token is predicted, and to which of the `2B` completions it belongs."""
    predictors: list[int] = []
    rows: list[int] = []
    for row, ((prompt, chosen, _), start) in enumerate(zip(lengths, starts, strict=True)):
        last_prompt = start + prompt - 1
        predictors += range(last_prompt, last_prompt + chosen)
        rows += [row] * chosen
    for row, ((prompt, chosen, rejected), start) in enumerate(zip(lengths, starts, strict=True), len(lengths)):
        before_rejected = start + prompt + chosen
        predictors += [start + prompt - 1, *range(before_rejected, before_rejected + rejected - 1)]
        rows += [row] * rejected
    return predictors, rows
