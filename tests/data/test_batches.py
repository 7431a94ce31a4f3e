"""Batches, by the numbers of their own descriptions."""

from __future__ import annotations

import pytest
from datasets import Dataset

from alignment.data.packed_batches import PackedPreferenceCollator
from alignment.data.padded_batches import PaddedPreferenceCollator
from alignment.data.sampler import PairDataset

ROWS = {"prompt_ids": [[5, 6], [4]], "chosen_ids": [[7, 8], [7]], "rejected_ids": [[9], [8]]}
ROWS_BY_PAIR = list(zip(*ROWS.values(), strict=True))


def sampled(of, *rows):
    stored = Dataset.from_dict(ROWS) if of == "arrow" else [dict(zip(ROWS, ids, strict=True)) for ids in ROWS_BY_PAIR]
    return PairDataset(stored)[[(row, 1.0) for row in rows]]


def as_lists(batch):
    return {name: value if isinstance(value, list) else value.tolist() for name, value in batch.items()}


@pytest.mark.parametrize("of", ["arrow", "lists"])
def test_a_packed_batch(of):
    assert as_lists(PackedPreferenceCollator()(sampled(of, 0, 1))) == {
        "input_ids": [[5, 6, 7, 8, 9, 4, 7, 8]],
        "position_ids": [[0, 1, 2, 3, 2, 0, 1, 1]],
        "predictor_index": [1, 2, 5, 1, 5],
        "targets": [7, 8, 7, 9, 8],
        "target_rows": [0, 0, 1, 2, 3],
        "pair_lengths": [(2, 2, 1), (1, 1, 1)],
        "weight": [1.0, 1.0],
        "index": [0, 1],
    }


@pytest.mark.parametrize("of", ["arrow", "lists"])
def test_a_padded_batch(of):
    assert as_lists(PaddedPreferenceCollator(0)(sampled(of, 0))) == {
        "input_ids": [[5, 6, 7, 8], [5, 6, 9, 0]],
        "attention_mask": [[1, 1, 1, 1], [1, 1, 1, 0]],
        "predictor_index": [1, 2, 5],
        "targets": [7, 8, 9],
        "target_rows": [0, 0, 1],
        "pair_lengths": [(2, 2, 1)],
        "weight": [1.0],
        "index": [0],
    }


@pytest.mark.parametrize("collator", [PackedPreferenceCollator(), PaddedPreferenceCollator(0)])
def test_a_completion_without_tokens_is_refused(collator):
    pair = {"prompt_ids": [1], "chosen_ids": [2], "rejected_ids": [], "weight": 1.0, "index": 7}
    with pytest.raises(ValueError, match="row 7: prompt, chosen and rejected have"):
        collator([pair])
