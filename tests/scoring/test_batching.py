from __future__ import annotations

from alignment.scoring.batching import batches_by_tokens, padded, unused_id


def test_batches_hold_similar_lengths_within_the_budget():
    # 9 alone (9 + 9 > 12), then 5 and 4 (2 x 5 <= 12), then 3, 2, 2 (3 x 3 <= 12); one more of 1 fills 4 x 3 = 12.
    assert batches_by_tokens([4, 9, 2, 5, 3, 2, 1], 12) == [[1], [3, 0], [4, 2, 5, 6]]


def test_a_row_beyond_the_budget_is_alone():
    assert batches_by_tokens([3, 20, 3], 6) == [[1], [0, 2]]
    assert batches_by_tokens([], 6) == []


def test_padding_is_on_the_right_and_masked():
    ids, mask = padded([[5, 6, 7], [8]], 1)
    assert ids.tolist() == [[5, 6, 7], [8, 1, 1]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]


def test_an_unused_id_ends_no_row():
    assert unused_id([0, 3, 1, 1]) == 2
    assert unused_id([0, 1]) == 2
    assert unused_id([4]) == 0
