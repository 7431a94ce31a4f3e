"""Preference losses as pure functions: tensors in, tensors out.

All of them take the *mean* log-probability per completion token, `[B]`, one entry a preference pair.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

SimPOLossType = Literal["sigmoid", "hinge"]


def simpo_loss(
    chosen_logps: Tensor,
    rejected_logps: Tensor,
    *,
    beta: float,
    gamma_beta_ratio: float,
    label_smoothing: float = 0.0,
    loss_type: SimPOLossType = "sigmoid",
) -> tuple[Tensor, Tensor, Tensor]:
    """SimPO (Meng, Xia, Chen 2024, arXiv 2405.14734, eq. 6), with label smoothing and a hinge variant.

    With `r = log p(y|x) / |y|` and the target margin `gamma = gamma_beta_ratio * beta`, so that
    `beta * (r_w - r_l) - gamma = beta * (r_w - r_l - gamma_beta_ratio) = z`:

        sigmoid:  -(1 - eps) * log sigmoid(z) - eps * log sigmoid(-z)
        hinge:    max(0, 1 - z)                                       (label smoothing has no meaning here)

    Args:
        chosen_logps: `[B]` mean log-probability per token of the chosen completions (nats).
        rejected_logps: `[B]` the same for the rejected completions.
        beta: reward scale, > 0.
        gamma_beta_ratio: target margin as a fraction of beta, >= 0.
        label_smoothing: probability `eps` that a preference label is flipped, 0 <= eps < 0.5.
        loss_type: "sigmoid" or "hinge".

    Returns:
        `(losses, chosen_rewards, rejected_rewards)`, each `[B]`; rewards are `beta * r` and carry no gradient.
    """
    z = beta * (chosen_logps - rejected_logps - gamma_beta_ratio)
    if loss_type == "sigmoid":
        losses = -(1 - label_smoothing) * F.logsigmoid(z) - label_smoothing * F.logsigmoid(-z)
    elif loss_type == "hinge":
        losses = torch.relu(1 - z)
    else:
        raise ValueError(f"loss_type {loss_type!r} must be 'sigmoid' or 'hinge'")
    return losses, beta * chosen_logps.detach(), beta * rejected_logps.detach()


def orpo_loss(chosen_logps: Tensor, rejected_logps: Tensor, *, beta: float) -> tuple[Tensor, Tensor, Tensor]:
    """The odds-ratio term of ORPO (Hong, Lee, Thorne 2024, arXiv 2403.07691, eq. 4 and 7).

    With `p = exp(mean log-probability)` and `odds(p) = p / (1 - p)`:

        -beta * log sigmoid(log odds(p_w) - log odds(p_l))

    ORPO's full objective (eq. 6) adds the negative log-likelihood of the chosen completion, which the
    trainer contributes as its supervised term with weight 1; `beta` is the paper's lambda.

    Args and returns as `simpo_loss`.
    """
    log_odds = (chosen_logps - rejected_logps) - (_log1mexp(chosen_logps) - _log1mexp(rejected_logps))
    return -beta * F.logsigmoid(log_odds), beta * chosen_logps.detach(), beta * rejected_logps.detach()


def _log1mexp(x: Tensor) -> Tensor:
    """`log(1 - exp(x))` for x < 0, stable at both ends (Maechler 2012).

    A completion predicted with certainty (x = 0) would make the odds infinite; x is held one rounding
    step below 0 there so that loss and gradient stay finite.
    """
    x = x.clamp(max=-torch.finfo(x.dtype).eps)
    near_zero = x > -0.6931471805599453
    # Both branches are evaluated; each is fed a harmless value where the other one is taken, because
    # an infinite gradient times the mask's zero would be NaN.
    small = torch.where(near_zero, x, torch.full_like(x, -0.5))
    large = torch.where(near_zero, torch.full_like(x, -1.0), x)
    return torch.where(near_zero, torch.log(-torch.expm1(small)), torch.log1p(-torch.exp(large)))
