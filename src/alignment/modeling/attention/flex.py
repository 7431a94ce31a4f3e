"""FlexAttention over shared prompts: one compiled kernel over the whole row, with a block mask.

Used on GPUs without FlashAttention. The mask is built once per forward pass and window and shared by the layers.
FlexAttention has no backward pass on CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import torch
from torch import Tensor

from alignment.modeling.attention.attend import Scores
from alignment.modeling.attention.layout import SharedPrompts
from alignment.modeling.compiled import as_in_training

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import FlexKernelOptions

Kernels = Literal["TRITON", "FLASH"]
"""Who computes attention: Triton, or FlashAttention 4 by PyTorch's own `BACKEND="FLASH"`."""
TRITON: Final = "TRITON"
FLASH: Final = "FLASH"


def attend(
    query: Tensor, key: Tensor, value: Tensor, layout: SharedPrompts, scores: Scores, *, by: Kernels = TRITON
) -> Tensor:
    """`Attend`, by one kernel."""
    q, k, v = (x.transpose(0, 1)[None] for x in (query, key, value))
    groups = q.shape[1] // k.shape[1]
    if groups & (groups - 1):
        # The kernel shares key heads among a power of two of query heads only.
        k, v, groups = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1), 1
    out = as_in_training(
        _kernel(),
        (q, k, v),
        _block_mask(layout, scores.window, block_size(query.shape[-1], by)),
        scale=repr(scores.scale),
        softcap=None if scores.softcap is None else repr(scores.softcap),
        gqa=groups > 1,
        by=by,
    )
    return out[0].transpose(0, 1)


def has_flash() -> bool:
    """Whether this release of PyTorch can take FlashAttention 4's kernels for FlexAttention."""
    from torch.nn.attention import flex_attention

    return FLASH in get_args(getattr(flex_attention, "_Backend", None))


def block_size(head_dim: int, by: Kernels) -> int:
    """Queries and keys of a block of the mask, which is computed whole or not at all.

    Over the lengths of preference pairs, blocks of 64 compute 1.26 times the visible (query, key) pairs, blocks of 128
    1.54 times. Triton's kernels work on tiles of at most 64 for heads beyond 192, of up to 128 for smaller ones.
    """
    return 64 if head_dim > 192 and by == TRITON else 128


def mask_of(layout: SharedPrompts, window: int | None) -> Callable[..., Tensor]:
    """`visible(batch, head, query, key)` on indices of the row."""
    pair_ids, roles, positions = layout.pair_ids, layout.roles, layout.positions

    def visible(batch: Any, head: Any, query: Tensor, key: Tensor) -> Tensor:
        own_pair = (query >= key) & (pair_ids[query] == pair_ids[key])
        return own_pair & ((roles[key] == 0) | (roles[key] == roles[query]))

    def visible_in_window(batch: Any, head: Any, query: Tensor, key: Tensor) -> Tensor:
        return visible(batch, head, query, key) & (positions[query] - positions[key] < window)

    return visible if window is None else visible_in_window


def visible_pairs(layout: SharedPrompts, window: int | None, block: int) -> Tensor:
    """`[blocks, blocks]` how many (query, key) pairs are visible in each block.

    Counted from the stretches of the row that each query sees, so that nothing of size `T x T` is built: of its prompt
    and of its own completion, which are one stretch but for a rejected completion (any answer after the first).
    """
    rows = torch.arange(layout.tokens, device=layout.device)
    starts, prompt_ends, _ = layout.bounds.index_select(1, layout.pair_ids)
    rejected_starts = rows - layout.positions + prompt_ends - starts  # of the answer that a token is in
    reach = rows.new_zeros(()) if window is None else (layout.positions - window + 1).clamp_min(0)
    rejected = layout.roles >= 2
    own = torch.maximum(rejected_starts, starts + reach + rejected_starts - prompt_ends)
    seen = _overlaps(starts + reach, torch.where(rejected, prompt_ends, rows + 1), block)
    seen += _overlaps(torch.where(rejected, own, rows + 1), rows + 1, block)
    whole_blocks = torch.nn.functional.pad(seen, (0, 0, 0, -len(rows) % block))
    return whole_blocks.unflatten(0, (-1, block)).sum(1)


def _overlaps(begins: Tensor, ends: Tensor, block: int) -> Tensor:
    """`[T, blocks]` rows that each stretch from `begins` to `ends` `[T]` has in each block."""
    edges = torch.arange(0, len(begins), block, device=begins.device)
    return (torch.minimum(ends[:, None], edges + block) - torch.maximum(begins[:, None], edges)).clamp_min(0)


def _block_mask(layout: SharedPrompts, window: int | None, block: int) -> Any:
    from torch.nn.attention.flex_attention import BlockMask

    if window not in layout.block_masks:
        count = visible_pairs(layout, window, block)
        full = count == block * block
        layout.block_masks[window] = BlockMask.from_kv_blocks(
            *_listed((count > 0) & ~full),
            *_listed(full),
            BLOCK_SIZE=block,
            mask_mod=mask_of(layout, window),
            seq_lengths=(layout.tokens, layout.tokens),
        )
    return layout.block_masks[window]


def _listed(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """Of `[queries, keys]` bool: how many a row has, and which, first of all; as `BlockMask` takes them."""
    order = blocks.int().argsort(dim=-1, descending=True, stable=True)
    return blocks.sum(-1, dtype=torch.int32)[None, None], order.int()[None, None]


def _run(
    q: Tensor, k: Tensor, v: Tensor, block_mask: Any, *, scale: str, softcap: str | None, gqa: bool, by: Kernels
) -> Tensor:
    """The kernel. Its numbers come as text, which the compiler takes for constants: a float that comes from outside
    is a variable to it, which the operator cannot differentiate and the code generator cannot print."""
    from torch.nn.attention.flex_attention import flex_attention

    if softcap is None:
        capped = None
    else:
        cap = float(softcap)

        def capped(score: Tensor, *_: Any) -> Tensor:
            return cap * torch.tanh(score / cap)

    options: FlexKernelOptions | None = None if by == TRITON else {"BACKEND": by}
    return flex_attention(
        q,
        k,
        v,
        score_mod=capped,
        block_mask=block_mask,
        scale=float(scale),
        enable_gqa=gqa,
        kernel_options=options,
    )


@lru_cache(maxsize=1)
def _kernel() -> Callable[..., Tensor]:
    return torch.compile(_run, dynamic=True, fullgraph=True)
