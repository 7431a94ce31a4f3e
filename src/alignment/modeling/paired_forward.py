"""Padded batches of pairs, computed as one packed row with shared prompts inside the model's backbone.

For trainers that own their batches, their head and their loss, as TRL's do: the rows of a batch are the chosen
completions and then, in the same order, the rejected ones. The caller gets padded hidden states; the
transformer never sees padding, and every prompt once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from alignment.modeling.attention import Attend, PackedCall, SharedPrompts
from alignment.modeling.class_swap import mix_in
from alignment.modeling.packed_forward import run_packed, serve_packed_rows

Batch = dict[str, Any]


class _PairedForward(nn.Module):
    """Mixed into the class of a backbone: with `pair_lengths`, its rows are pairs."""

    _packed_attention: Attend
    config: Any

    def forward(self, input_ids: Tensor | None = None, *args: Any, pair_lengths: Any = None, **kwargs: Any) -> Any:
        """With `pair_lengths`, hidden states `[2B, T, H]` of `input_ids` `[2B, T]`, arbitrary where padded."""
        if pair_lengths is None or input_ids is None:
            return super().forward(input_ids, *args, **kwargs)
        layout = SharedPrompts(pair_lengths, input_ids.device)
        gather, spread = row_indices(pair_lengths, input_ids.shape[1])
        row = input_ids.flatten().index_select(0, gather.to(input_ids.device))[None]
        call = PackedCall(layout, self._packed_attention)
        output = run_packed(super().forward, row, layout.positions[None], call, self.config)
        hidden = output.last_hidden_state[0].index_select(0, spread.flatten().to(input_ids.device))
        output.last_hidden_state = hidden.view(*input_ids.shape, -1)
        return output


def share_prompts(
    model: nn.Module,
    *,
    requested: str | None = None,
    longest: int | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
    allow_slow: bool = False,
) -> str:
    """Teach a model's backbone to take batches with `pair_lengths`, in place; otherwise it stays as it was.

    Arguments, result and errors as for `alignment.modeling.packed_forward.prepare_for_packing`.
    """
    language_model, backend = serve_packed_rows(
        model, requested=requested, longest=longest, dtype=dtype, device=device, allow_slow=allow_slow
    )
    mix_in(_PairedForward, language_model.base_model)
    return backend


def row_indices(pair_lengths: Sequence[tuple[int, int, int]], width: int) -> tuple[Tensor, Tensor]:
    """Where the tokens of a packed row come from, and where they go.

    Args:
        pair_lengths: tokens of prompt, chosen and rejected of every pair.
        width: tokens of a padded row.

    Returns:
        `[T]` places in the flattened padded batch, and `[2B, width]` places in the row; padding points to places that
        do not matter, all over the row, so that no single one collects their (zero) gradients.
    """
    pairs = len(pair_lengths)
    total = sum(map(sum, pair_lengths))
    spread = torch.arange(2 * pairs * width).view(2 * pairs, width) % total
    gather, start = [], 0
    for i, (p, c, r) in enumerate(pair_lengths):
        chosen, rejected = i * width, (pairs + i) * width
        gather += [torch.arange(chosen, chosen + p + c), torch.arange(rejected + p, rejected + p + r)]
        spread[i, : p + c] = torch.arange(start, start + p + c)
        spread[pairs + i, :p] = torch.arange(start, start + p)
        spread[pairs + i, p : p + r] = torch.arange(start + p + c, start + p + c + r)
        start += p + c + r
    return torch.cat(gather), spread


class WithPairLengths:
    """A collator of padded pairs, whose batches also say how long their parts are.

    Args:
        collator: its batches have `input_ids`, `attention_mask` and `completion_mask` `[2B, T]`, padded on the right.
    """

    def __init__(self, collator: Callable[[list[Any]], Batch]) -> None:
        self.collator = collator

    def __call__(self, examples: list[Any]) -> Batch:
        batch = self.collator(examples)
        return {**batch, "pair_lengths": lengths_in(batch)}


def lengths_in(batch: Batch) -> list[tuple[int, int, int]]:
    """Tokens of prompt, chosen and rejected of every pair; a pair whose prompts were cut differently shares none."""
    ids, mask = batch["input_ids"], batch["attention_mask"]
    totals, prompts = mask.sum(1).tolist(), (mask.sum(1) - batch["completion_mask"].sum(1)).tolist()
    pairs, lengths = len(ids) // 2, []
    for chosen in range(pairs):
        rejected, prompt = pairs + chosen, prompts[chosen]
        same = prompt == prompts[rejected] and torch.equal(ids[chosen, :prompt], ids[rejected, :prompt])
        shared = prompt if same else 0
        lengths.append((shared, totals[chosen] - shared, totals[rejected] - shared))
    return lengths
