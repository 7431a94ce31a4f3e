"""Log-probabilities of given tokens from hidden states, without ever holding `[tokens, vocabulary]` logits.

`N` completion tokens, vocabulary `V`, hidden size `H`. The logits are built for a block of the vocabulary at a
time, reduced to what is needed of them and thrown away; the backward pass builds them again. Blocks run over the
vocabulary and not over the tokens, because then a block's weight gradient is complete at once: it is written
exactly once, by one matrix product, as the plain computation would write it.

fp32 throughout the softmax (fp64 for fp64 inputs), the model's own soft-cap included.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
from torch import Tensor

BLOCK_BYTES = {"cpu": 4 * 2**20, "cuda": 256 * 2**20}
"""fp32 logits held at a time: about what a CPU core's caches hold, and what keeps a GPU busy."""

Term = tuple[Tensor, Tensor]
"""`(x [N, k], weight [V, k])`, one summand `x @ weight.T` of the logits."""


def chunked_logps(
    terms: Sequence[Term], targets: Tensor, *, softcap: float | None = None, block: int | None = None
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of `targets` under `softmax(cap(sum of x @ weight.T))`.

    Args:
        terms: the summands of the logits. A plain head has one; LoRA adds `(x A^T, B)`, a bias `(ones, bias)`.
        targets: `[N]` token ids.
        softcap: logits become `softcap * tanh(logits / softcap)`, as Gemma-2's do (arXiv 2408.00118, sec. 2).
        block: vocabulary entries at a time; by default what keeps the logits within `BLOCK_BYTES`.

    Returns:
        `[N]` log-probabilities and `[N]` mean logits over the vocabulary (no gradient), at least fp32.
    """
    vocabulary = terms[0][1].shape[0]
    if block is None:
        budget = BLOCK_BYTES.get(targets.device.type, BLOCK_BYTES["cuda"])
        block = min(vocabulary, max(256, budget // (4 * max(1, len(targets)))))
    return _ChunkedLogps.apply(targets, softcap, block, *(tensor for term in terms for tensor in term))


class _ChunkedLogps(torch.autograd.Function):
    @staticmethod
    def forward(ctx, targets: Tensor, softcap: float | None, block: int, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        ctx.softcap, ctx.block, ctx.dtype = softcap, block, _compute_dtype(tensors[0])
        xs, weights = [x.to(ctx.dtype) for x in tensors[::2]], tensors[1::2]
        statistics = _kernels(targets.device)[0]
        target_logits = torch.zeros(targets.shape, device=targets.device, dtype=_precise(ctx.dtype))
        logit_sums = torch.zeros_like(target_logits)
        normalizers = []
        for part in _parts(weights[0].shape[0], block):
            found, normalizer, total = statistics(_logits(xs, weights, part), targets - part.start, softcap)
            target_logits += found
            logit_sums += total
            normalizers.append(normalizer)
        log_normalizers = torch.stack(normalizers).logsumexp(0)
        # The weights are saved as they came, not as cast: a sharded weight is gathered again for the backward pass.
        ctx.save_for_backward(targets, log_normalizers, *tensors)
        mean_logits = logit_sums / weights[0].shape[0]
        ctx.mark_non_differentiable(mean_logits)
        return target_logits - log_normalizers, mean_logits

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_logps: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        targets, log_normalizers, *tensors = ctx.saved_tensors
        xs, weights = [x.to(ctx.dtype) for x in tensors[::2]], tensors[1::2]
        x_grads = [_zeros(x) if need else None for x, need in zip(xs, ctx.needs_input_grad[3::2], strict=True)]
        weight_grads = [
            torch.empty_like(weight) if need else None
            for weight, need in zip(weights, ctx.needs_input_grad[4::2], strict=True)
        ]
        gradients = _kernels(targets.device)[1]
        for part in _parts(weights[0].shape[0], ctx.block):
            logits = _logits(xs, weights, part)
            grads = gradients(logits, targets - part.start, log_normalizers, grad_logps, ctx.softcap).to(ctx.dtype)
            for x, weight, x_grad, weight_grad in zip(xs, weights, x_grads, weight_grads, strict=True):
                if x_grad is not None:
                    _add_product(x_grad, grads, weight[part].to(ctx.dtype))
                if weight_grad is not None:
                    weight_grad[part] = grads.t() @ x
        x_grads = [g if g is None else g.to(x.dtype) for g, x in zip(x_grads, tensors[::2], strict=True)]
        return None, None, None, *(g for pair in zip(x_grads, weight_grads, strict=True) for g in pair)


def block_statistics(logits: Tensor, columns: Tensor, softcap: float | None) -> tuple[Tensor, Tensor, Tensor]:
    """What a block of raw logits `[N, v]`, overwritten, says about each token.

    Args:
        columns: `[N]` column of each token's target in the block, outside `0..v-1` when it lies in another block.

    Returns:
        Capped logit of the target (0 when elsewhere), log of the sum of exponentials, sum of logits; each `[N]`.
    """
    z = _precise_logits(logits)
    if softcap is not None:
        z.div_(softcap).tanh_().mul_(softcap)
    inside = (columns >= 0) & (columns < z.shape[1])
    found = z.gather(1, columns.clamp(0, z.shape[1] - 1)[:, None])[:, 0]
    return found.where(inside, 0.0), z.logsumexp(-1), z.sum(-1)


def block_gradients(
    logits: Tensor, columns: Tensor, log_normalizers: Tensor, grad_logps: Tensor, softcap: float | None
) -> Tensor:
    """Gradient `[N, v]` with respect to raw logits: `g (onehot - softmax(z)) (1 - (z / softcap)^2)`."""
    z = _precise_logits(logits)
    if softcap is None:
        grads = z.sub_(log_normalizers[:, None])
    else:
        z.div_(softcap).tanh_()
        grads = (z * softcap).sub_(log_normalizers[:, None])
    grads.exp_().neg_()
    inside = ((columns >= 0) & (columns < z.shape[1])).to(grads.dtype)
    grads.scatter_add_(1, columns.clamp(0, z.shape[1] - 1)[:, None], inside[:, None])
    grads.mul_(grad_logps[:, None])
    return grads if softcap is None else grads.mul_(z.square_().neg_().add_(1))


def _precise_logits(logits: Tensor) -> Tensor:
    return logits.to(_precise(logits.dtype))


def _precise(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


Kernels = tuple[Callable[..., tuple[Tensor, Tensor, Tensor]], Callable[..., Tensor]]


def _kernels(device: torch.device) -> Kernels:
    """The two functions above; on a GPU compiled, so that each is one pass over the logits instead of ten."""
    return _compiled() if device.type == "cuda" else (block_statistics, block_gradients)


@lru_cache(maxsize=1)
def _compiled() -> Kernels:
    return torch.compile(block_statistics, dynamic=True), torch.compile(block_gradients, dynamic=True)


def _logits(xs: Sequence[Tensor], weights: Sequence[Tensor], part: slice) -> Tensor:
    logits = xs[0] @ weights[0][part].to(xs[0].dtype).t()
    for x, weight in zip(xs[1:], weights[1:], strict=True):
        logits.addmm_(x, weight[part].to(x.dtype).t())
    return logits


def _zeros(x: Tensor) -> Tensor:
    """A sum over blocks, kept in fp32 so that blocks add no rounding."""
    return torch.zeros(x.shape, device=x.device, dtype=_precise(x.dtype))


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """`total += a @ b` without rounding the product to `a`'s dtype where the device offers that."""
    if total.dtype == a.dtype:
        total.addmm_(a, b)
    elif a.is_cuda:
        total += torch.mm(a, b, out_dtype=total.dtype)
    else:
        total += a @ b


def _parts(length: int, block: int) -> list[slice]:
    return [slice(start, min(start + block, length)) for start in range(0, length, block)]


def _compute_dtype(x: Tensor) -> torch.dtype:
    """What a linear layer would compute in: autocast's choice where it is active."""
    if torch.is_autocast_enabled(x.device.type):
        return torch.get_autocast_dtype(x.device.type)
    return x.dtype
