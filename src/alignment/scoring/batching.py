"""Rows of token ids to padded batches of bounded size, and what belongs to each row back in its place."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def batches_by_tokens(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Indices of rows that are computed together: similar lengths, the longest first.

    The longest row of a batch times its rows stays within `budget`; a row that is longer than `budget` is alone. The
    first batch is the widest, so that a lack of memory shows at the start.

    Args:
        lengths: tokens of each row.
        budget: tokens of a batch, padding included.
    """
    batches: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lambda row: (-lengths[row], row)):
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= budget:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Ids and mask `[B, T]` of rows of token ids, padded on the right with `pad`."""
    width = max(map(len, rows))
    ids = [[*row, *[pad] * (width - len(row))] for row in rows]
    mask = [[1] * len(row) + [0] * (width - len(row)) for row in rows]
    return torch.tensor(ids), torch.tensor(mask)


def unused_id(last: Sequence[int]) -> int:
    """The smallest token id that no row ends with: padding by it cannot be taken for the end of a row."""
    taken = set(last)
    return next(token for token in range(len(taken) + 1) if token not in taken)
