"""Tokens drawn by one random stream a row, so that an answer does not depend on which others it is drawn with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from alignment.recipe.generation_settings import GenerationSettings


class Draw(LogitsProcessor):
    """Chooses the next token of each row by that row's own stream of random numbers.

    What it returns is 0 at the chosen token and -inf elsewhere, so that a greedy decoder takes that one. The token is
    the inverse of the row's cumulative distribution at one uniform number, in double precision.

    Args:
        streams: seeds, one a row.
    """

    def __init__(self, streams: Sequence[int]) -> None:
        self._generators = [torch.Generator().manual_seed(stream) for stream in streams]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        uniform = torch.cat([torch.rand(1, generator=one, dtype=torch.float64) for one in self._generators])
        chosen = inverse_cdf(scores.double().softmax(-1), uniform.to(scores.device))
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen[:, None], 0.0)


class RequireFinite(LogitsProcessor):
    """Remembers whether any row ever had logits of which nothing can be drawn; looked at once, when a batch is done."""

    def __init__(self) -> None:
        self._broken: Tensor | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        now = ~torch.isfinite(scores.amax(-1)).all()
        self._broken = now if self._broken is None else self._broken | now
        return scores

    @property
    def broken(self) -> bool:
        return self._broken is not None and bool(self._broken)


def inverse_cdf(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Tokens `[B]` of probabilities `[B, V]` at uniform numbers `[B]` in [0, 1): the first whose cumulative
    probability is above the number. A token of probability 0 is never that."""
    cumulative = probabilities.cumsum(-1)
    thresholds = uniform[:, None] * cumulative[:, -1:]
    return torch.searchsorted(cumulative, thresholds, right=True).squeeze(1).clamp_(max=probabilities.shape[1] - 1)


def processors(settings: GenerationSettings, streams: Sequence[int]) -> LogitsProcessorList:
    """What logits go through, in this order: the check, temperature, top-k, top-p, the draw. Greedy: the check."""
    every = LogitsProcessorList([RequireFinite()])
    if settings.temperature == 0:
        return every
    if settings.temperature != 1:
        every.append(TemperatureLogitsWarper(settings.temperature))
    if settings.top_k:
        every.append(TopKLogitsWarper(settings.top_k))
    if settings.top_p < 1:
        every.append(TopPLogitsWarper(settings.top_p))
    every.append(Draw(streams))
    return every


def stream_of(ids: Sequence[int], seed: int) -> int:
    """The seed of the random stream of a prompt's token ids: others for another prompt, so that the draws of one seed
    do not go together over the prompts."""
    told = f"{seed}:{','.join(map(str, ids))}"
    return int.from_bytes(hashlib.sha256(told.encode()).digest()[:8], "big") >> 1
