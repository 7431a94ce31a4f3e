"""From a batch to the log-probabilities of its completion tokens.

Every batch layout names the positions that predict a completion token in the same three flat tensors
(`N` = completion tokens of the batch, `R = 2B` = completions, chosen first, then rejected):

    predictor_index [N]  position, in the flattened batch, whose hidden state predicts the token
    targets         [N]  the token
    target_rows     [N]  the completion, 0..R-1, that the token belongs to
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn


class CompletionLogps(NamedTuple):
    """Per completion, chosen rows first: entry `i` and entry `B + i` are the two sides of pair `i`."""

    sums: Tensor
    """`[2B]` sum of log p(token) over the completion's tokens, nats, at least fp32."""
    counts: Tensor
    """`[2B]` completion tokens, same dtype as `sums`."""
    logit_means: Tensor
    """`[2B]` mean logit over the vocabulary and the completion's tokens; no gradient."""

    @property
    def means(self) -> Tensor:
        """`[2B]` mean log-probability per completion token."""
        return self.sums / self.counts


def padded_logps(model: nn.Module, batch: Mapping[str, Tensor]) -> CompletionLogps:
    """The plain way: two padded rows a pair through the model's own forward, log-softmax in fp32.

    This is the reference's computation; the packed layout is checked against it.

    Args:
        model: a causal language model, wrapped or not; its forward applies the model's own soft-cap.
        batch: `input_ids` and `attention_mask` `[2B, T]`, and the three flat tensors above.
    """
    logits = model(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False
    ).logits.flatten(0, 1)
    completion_logits = at_least_fp32(logits.index_select(0, batch["predictor_index"]))
    targets = batch["targets"]
    token_logps = completion_logits.log_softmax(-1).gather(1, targets[:, None])[:, 0]
    rows = batch["input_ids"].shape[0]
    return sum_by_completion(token_logps, completion_logits.detach().mean(-1), batch["target_rows"], rows)


def sum_by_completion(token_logps: Tensor, token_logits: Tensor, rows: Tensor, num_rows: int) -> CompletionLogps:
    """Token values `[N]` to completion values `[num_rows]`, by the completion each token belongs to."""
    zeros = token_logps.new_zeros(num_rows)
    counts = zeros.index_add(0, rows, torch.ones_like(token_logps))
    logit_means = zeros.index_add(0, rows, token_logits.to(zeros.dtype)) / counts
    return CompletionLogps(zeros.index_add(0, rows, token_logps), counts, logit_means)


def at_least_fp32(x: Tensor) -> Tensor:
    """fp16 and bf16 to fp32; fp32 and fp64 as they are."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()
