"""Tokenized pairs to one packed row in which the two completions of a pair share their prompt.

A pair occupies `prompt chosen rejected`. Positions restart after the prompt for the rejected completion,
which sees the prompt and itself but never the chosen one; the hidden state of the last prompt token
predicts the first token of both. Nothing is padded and no prompt is computed twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from alignment.data.padded_batches import SampledPair, joined, pair_columns, pair_lengths


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
        lengths = [pair_lengths(pair) for pair in pairs]
        chosen, rejected = ([pair[side] for pair in pairs] for side in ("chosen_ids", "rejected_ids"))
        whole = [ids for pair in pairs for ids in (pair["prompt_ids"], pair["chosen_ids"], pair["rejected_ids"])]
        positions = [part for p, c, r in lengths for part in (np.arange(p + c), np.arange(p, p + r))]
        completions = [length[side] for side in (1, 2) for length in lengths]
        return {
            "input_ids": torch.from_numpy(joined(whole))[None],
            "position_ids": torch.from_numpy(np.concatenate(positions))[None],
            "predictor_index": torch.from_numpy(np.concatenate(_predictors(lengths))),
            "targets": torch.from_numpy(joined([*chosen, *rejected])),
            "target_rows": torch.from_numpy(np.arange(len(completions)).repeat(completions)),
            **pair_columns(pairs),
        }


def _predictors(lengths: Sequence[tuple[int, int, int]]) -> list[NDArray[np.int64]]:
    """Where each completion token is predicted: those of the chosen completions, then those of the rejected."""
    starts = [0, *accumulate(map(sum, lengths))]
    chosen, rejected = [], []
    for (p, c, r), start in zip(lengths, starts, strict=False):
        chosen.append(np.arange(start + p - 1, start + p - 1 + c))
        places = np.arange(start + p + c - 1, start + p + c - 1 + r)
        places[0] = start + p - 1
        rejected.append(places)
    return [*chosen, *rejected]
