"""Who may attend to whom in a packed row, in the forms that the attention backends take.

A pair `prompt chosen rejected` of lengths `P, C, R` is computed as two *segments*: the queries of
`prompt chosen` (`P + C`) over their own keys, and the queries of `rejected` (`R`) over the keys of
`prompt rejected` (`P + R`). In both, query `i` of a segment with `Lq` queries and `Lk` keys sees keys
`0 .. i + Lk - Lq`: a causal mask aligned at its bottom right corner. No token is left out and none seen twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor


class SharedPrompts:
    """The layout of one packed row of `T` tokens, shared by all layers of one forward pass.

    One pair with `P, C, R = 2, 2, 1` has

        query_lengths  [4, 1]                 segments: prompt+chosen, rejected
        key_lengths    [4, 3]
        key_index      [0, 1, 2, 3, 0, 1, 4]  the row's keys, prompt repeated: segment after segment
        pair_ids       [0, 0, 0, 0, 0]
        is_chosen      [F, F, T, T, F]
        is_rejected    [F, F, F, F, T]
        positions      [0, 1, 2, 3, 2]

    A pair with `R = 0` is a single document of one segment.
    """

    def __init__(self, pair_lengths: Sequence[tuple[int, int, int]], device: torch.device) -> None:
        self.pair_lengths = [tuple(map(int, lengths)) for lengths in pair_lengths]
        self.device = device
        self.tokens = sum(map(sum, self.pair_lengths))
        segments = [((p + c, p + c), (r, p + r)) if r else ((p + c, p + c),) for p, c, r in self.pair_lengths]
        self.query_lengths = [queries for pair in segments for queries, _ in pair]
        self.key_lengths = [keys for pair in segments for _, keys in pair]
        self.longest = max(self.key_lengths)
        """Keys of the longest segment: a window at least as long cuts nothing."""
        self.calls = 0
        """Attention calls served; a model that never asks has not seen the layout."""
        self.block_masks: dict[int | None, Any] = {}
        """FlexAttention's masks by window, built on first use."""

    @cached_property
    def key_index(self) -> Tensor:
        """`[sum(key_lengths)]` where each segment's keys lie in the row."""
        pieces, start = [], 0
        for p, c, r in self.pair_lengths:
            again = p if r else 0
            pieces += [torch.arange(start, start + p + c), torch.arange(start, start + again)]
            pieces.append(torch.arange(start + p + c, start + p + c + r))
            start += p + c + r
        return torch.cat(pieces).to(self.device)

    @cached_property
    def key_sources(self) -> tuple[Tensor, Tensor, Tensor]:
        """The inverse of `key_index`: for every token its first place `[T]`; the prompt tokens, their second place."""
        first, prompts, second = [], [], []
        start = place = 0
        for p, c, r in self.pair_lengths:
            again = p if r else 0
            rejected = place + p + c + again
            first += [torch.arange(place, place + p + c), torch.arange(rejected, rejected + r)]
            prompts.append(torch.arange(start, start + again))
            second.append(torch.arange(place + p + c, rejected))
            start += p + c + r
            place = rejected + r
        return tuple(torch.cat(pieces).to(self.device) for pieces in (first, prompts, second))

    @cached_property
    def cu_queries(self) -> Tensor:
        """`[segments + 1]` int32 cumulative query lengths, from 0."""
        return torch.tensor([0, *accumulate(self.query_lengths)], dtype=torch.int32, device=self.device)

    @cached_property
    def cu_keys(self) -> Tensor:
        """`[segments + 1]` int32 cumulative key lengths, from 0."""
        return torch.tensor([0, *accumulate(self.key_lengths)], dtype=torch.int32, device=self.device)

    @cached_property
    def pair_ids(self) -> Tensor:
        """`[T]` the pair of every token."""
        totals = torch.tensor([sum(lengths) for lengths in self.pair_lengths])
        return torch.arange(len(totals)).repeat_interleave(totals).to(self.device)

    @cached_property
    def is_chosen(self) -> Tensor:
        """`[T]` whether a token belongs to a chosen completion."""
        return self._roles == 1

    @cached_property
    def is_rejected(self) -> Tensor:
        """`[T]` whether a token belongs to a rejected completion."""
        return self._roles == 2

    @cached_property
    def positions(self) -> Tensor:
        """`[T]` positions; they restart after the prompt for the rejected completion."""
        pieces = [torch.cat([torch.arange(p + c), torch.arange(p, p + r)]) for p, c, r in self.pair_lengths]
        return torch.cat(pieces).to(self.device)

    @cached_property
    def _roles(self) -> Tensor:
        lengths = torch.tensor(self.pair_lengths)
        return torch.arange(3).repeat(len(lengths)).repeat_interleave(lengths.flatten()).to(self.device)


def visible_keys(queries: int, keys: int, window: int | None, device: torch.device) -> Tensor:
    """`[queries, keys]` bool: the mask of one segment, causal from its bottom right corner.

    With `window`, a query sees its own key and the `window - 1` before it; distance in a segment is distance in
    position, because both segments of a pair are contiguous in position.
    """
    distance = torch.arange(keys - queries, keys, device=device)[:, None] - torch.arange(keys, device=device)
    visible = distance >= 0
    return visible if window is None else visible & (distance < window)


class _RepeatPrompts(torch.autograd.Function):
    """`x[key_index]`, with a backward pass that gathers instead of scattering with atomics."""

    @staticmethod
    def forward(ctx, x: Tensor, layout: SharedPrompts) -> Tensor:
        ctx.layout = layout
        return x.index_select(0, layout.key_index)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None]:
        first, prompts, second = ctx.layout.key_sources
        total = grad.index_select(0, first)
        total[prompts] += grad.index_select(0, second)
        return total, None


def repeat_prompts(x: Tensor, layout: SharedPrompts) -> Tensor:
    """Keys or values `[T, heads, dim]` to `[sum(key_lengths), heads, dim]`, every prompt twice."""
    return _RepeatPrompts.apply(x, layout)
