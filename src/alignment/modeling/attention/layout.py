"""Who may attend to whom in a packed row, in the forms that the attention backends take.

A pair `prompt chosen rejected` of lengths `P, C, R` is computed as two *segments*: the queries of
`prompt chosen` (`P + C`) over their own keys, and the queries of `rejected` (`R`) over the keys of
`prompt rejected` (`P + R`). In both, query `i` of a segment with `Lq` queries and `Lk` keys sees keys
`0 .. i + Lk - Lq`: a causal mask aligned at its bottom right corner. No token is left out and none seen twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from alignment.modeling.flops import PairLengths


class SharedPrompts:
    """The layout of one packed row of `T` tokens, shared by all layers of one forward pass.

    One pair with `P, C, R = 2, 2, 1` has

        query_lengths  [4, 1]                 segments: prompt+chosen, rejected
        key_lengths    [4, 3]
        key_index      [0, 1, 2, 3, 0, 1, 4]  the row's keys, prompt repeated: segment after segment
        pair_ids       [0, 0, 0, 0, 0]
        roles          [0, 0, 1, 1, 2]
        positions      [0, 1, 2, 3, 2]

    A pair with `R = 0` is a single document of one segment. Any number of answers may share a prompt, `P, A1, A2, ...`:
    the first of them is as `chosen`, every other one as `rejected`.

    Args:
        pair_lengths: tokens of prompt, chosen and rejected of every pair.
        device: where attention is computed.
        indices: what `layout_indices` gives for these pairs, if a collator has built it already; on any device.
    """

    def __init__(
        self, pair_lengths: Sequence[PairLengths], device: torch.device, indices: Tensor | None = None
    ) -> None:
        self.pair_lengths = [tuple(map(int, lengths)) for lengths in pair_lengths]
        self.device = device
        self.tokens = sum(map(sum, self.pair_lengths))
        self.query_lengths, self.key_lengths = segment_lengths(self.pair_lengths)
        self.longest = max(self.key_lengths)
        """Keys of the longest segment: a window at least as long cuts nothing."""
        self.calls = 0
        """Attention calls served; a model that never asks has not seen the layout."""
        self.block_masks: dict[int | None, Any] = {}
        """FlexAttention's masks by window, built on first use, which is in a forward pass."""
        if indices is None:
            indices = layout_indices(self.pair_lengths)
        # One copy for all of them, which a GPU makes while it computes the micro-batch before.
        pieces = to_device(indices, device).split(self._sizes())
        self.key_index = pieces[0]
        """`[sum(key_lengths)]` where each segment's keys lie in the row."""
        self.key_sources = pieces[1:4]
        """The inverse of `key_index`: for every token its first place `[T]`; the prompt tokens, their second place, and
        where several answers share a prompt, further on their third and so on."""
        self.positions = pieces[4]
        """`[T]` positions; they restart after the prompt for the rejected completion."""
        self.pair_ids = pieces[5]
        """`[T]` the pair of every token."""
        self.roles = pieces[6]
        """`[T]` 0 in a prompt, 1 in a chosen and 2 in a rejected completion; up to the number of answers."""
        self.bounds = pieces[7].view(3, -1)
        """`[3, pairs]` rows at which each pair, its chosen and its rejected completion (or second answer) begin."""
        self.cu_queries, self.cu_keys = (piece.int() for piece in pieces[8:])
        """`[segments + 1]` int32 cumulative query and key lengths, from 0."""

    def _sizes(self) -> list[int]:
        """Entries of each piece of `layout_indices`."""
        keys, cumulative = sum(self.key_lengths), len(self.key_lengths) + 1
        again = keys - self.tokens
        bounds = 3 * len(self.pair_lengths)
        return [keys, self.tokens, again, again, *[self.tokens] * 3, bounds, cumulative, cumulative]


def segment_lengths(pair_lengths: Sequence[PairLengths]) -> tuple[list[int], list[int]]:
    """Queries and keys of every segment: one for an answer, the first with its prompt."""
    segments = [
        segment
        for p, first, *others in pair_lengths
        for segment in ((p + first, p + first), *((other, p + other) for other in others if other))
    ]
    queries, keys = zip(*segments, strict=True)
    return list(queries), list(keys)


def prompt_repeats(pair_lengths: Sequence[PairLengths]) -> list[int]:
    """Prompt tokens that keys hold a second time, a third time and so on."""
    prompts = [(lengths[0], sum(map(bool, lengths[2:]))) for lengths in pair_lengths]
    most = max(1, *(others for _, others in prompts))
    return [sum(prompt for prompt, others in prompts if others > number) for number in range(most)]


def layout_indices(pair_lengths: Sequence[PairLengths]) -> Tensor:
    """All that `SharedPrompts` needs on the device, as one int64 tensor on the CPU, for a collator to add to its batch.

    As one tensor it is pinned and copied once. In this order: `key_index`, the three of `key_sources`, `positions`,
    `pair_ids`, `roles`, `bounds`, `cu_queries`, `cu_keys`.
    """
    keys, first, positions, pair_ids, roles = ([] for _ in range(5))
    again: list[tuple[list[Tensor], list[Tensor]]] = [([], []) for _ in prompt_repeats(pair_lengths)]
    start = place = 0
    for pair, (p, opening, *others) in enumerate(pair_lengths):
        keys.append(torch.arange(start, start + p + opening))
        first.append(torch.arange(place, place + p + opening))
        positions.append(torch.arange(p + opening))
        end, place = start + p + opening, place + p + opening
        for (prompts, places), other in zip(again, filter(None, others), strict=False):
            prompts.append(torch.arange(start, start + p))
            places.append(torch.arange(place, place + p))
            keys += [prompts[-1], torch.arange(end, end + other)]
            first.append(torch.arange(place + p, place + p + other))
            positions.append(torch.arange(p, p + other))
            end, place = end + other, place + p + other
        pair_ids.append(torch.full((end - start,), pair))
        roles += [torch.full((length,), role) for role, length in enumerate((p, opening, *others))]
        start = end
    prompts = [piece for sources, _ in again for piece in sources]
    second = [piece for _, places in again for piece in places]
    starts = [0, *accumulate(map(sum, pair_lengths))][:-1]
    bounds = [
        starts,
        [start + p for start, (p, *_) in zip(starts, pair_lengths, strict=True)],
        [start + p + first for start, (p, first, *_) in zip(starts, pair_lengths, strict=True)],
    ]
    cumulative = [[0, *accumulate(sizes)] for sizes in segment_lengths(pair_lengths)]
    last = torch.tensor([place for places in (*bounds, *cumulative) for place in places])
    return torch.cat([*keys, *first, *prompts, *second, *positions, *pair_ids, *roles, last])


def to_device(indices: Tensor, device: torch.device) -> Tensor:
    """A tensor of a batch on the device; the CPU does not wait for the copy."""
    if device.type == "cuda" and torch.cuda.is_available() and indices.device.type == "cpu":
        indices = indices.pin_memory()  # the same tensor when it is pinned already
    return indices.to(device, non_blocking=True)


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
    def forward(ctx: Any, x: Tensor, layout: SharedPrompts) -> Tensor:
        ctx.layout = layout
        return x.index_select(0, layout.key_index)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        first, prompts, places = ctx.layout.key_sources
        total = grad.index_select(0, first)
        # A token is once in each of the pieces, so that adding by index loses nothing.
        repeats = prompt_repeats(ctx.layout.pair_lengths)
        for sources, copies in zip(prompts.split(repeats), places.split(repeats), strict=True):
            total[sources] += grad.index_select(0, copies)
        return total, None


def repeat_prompts(x: Tensor, layout: SharedPrompts) -> Tensor:
    """Keys or values `[T, heads, dim]` to `[sum(key_lengths), heads, dim]`, every prompt once for each answer."""
    return _RepeatPrompts.apply(x, layout)
