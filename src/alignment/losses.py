"""Preference losses as pure functions: tensors in, tensors out.

All of them take the *mean* log-probability per completion token, `[B]`, one entry a preference pair.
"""

from __future__ import annotations

import math
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


def simper_loss(chosen_logps: Tensor, rejected_logps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """SimPER (Xiao et al. 2025, arXiv 2502.00883): the difference of two inverse perplexities, nothing to tune.

    With `r = log p(y|x) / |y|`, the inverse perplexity of a completion is `exp(r)`, between 0 and 1:

        -exp(r_w) + exp(r_l)

    Args as `simpo_loss`.

    Returns:
        `(losses, chosen_rewards, rejected_rewards)`, each `[B]`; rewards are `exp(r)` and carry no gradient.
    """
    chosen, rejected = chosen_logps.exp(), rejected_logps.exp()
    return rejected - chosen, chosen.detach(), rejected.detach()


def repo_loss(chosen_logps: Tensor, rejected_logps: Tensor, *, gamma: float) -> tuple[Tensor, Tensor, Tensor]:
    """RePO (Wu et al. 2025, arXiv 2503.07426): SimPO's limit for a large beta; pairs beyond the margin say nothing.

    With `r = log p(y|x) / |y|`:

        relu(gamma - (r_w - r_l))

    There is no beta: `gamma` is in nats per token, as SimPO's `gamma_beta_ratio` is.

    Args:
        chosen_logps, rejected_logps: as `simpo_loss` takes them.
        gamma: margin from which a pair is left alone, >= 0.

    Returns:
        `(losses, chosen_rewards, rejected_rewards)`, each `[B]`; rewards are `r` and carry no gradient.
    """
    losses = torch.relu(gamma - (chosen_logps - rejected_logps))
    return losses, chosen_logps.detach(), rejected_logps.detach()


def alphapo_loss(
    chosen_logps: Tensor, rejected_logps: Tensor, *, beta: float, gamma_beta_ratio: float, alpha: float
) -> tuple[Tensor, Tensor, Tensor]:
    """AlphaPO (Gupta et al. 2025, arXiv 2501.03884): SimPO with another shape of reward.

    With `p = exp(log p(y|x) / |y|)` and `gamma = gamma_beta_ratio * beta`:

        reward:  beta * (1 - p^-alpha) / alpha
        loss:    -log sigmoid(reward_w - reward_l - gamma)

    `alpha` 0 is the limit, `beta * log p`: SimPO. Above it, the reward of an improbable completion falls faster than
    its logarithm, so that less of a margin is made by lowering both probabilities.

    Args:
        chosen_logps, rejected_logps, beta, gamma_beta_ratio: as `simpo_loss` takes them.
        alpha: shape of the reward, of any sign.

    Returns:
        `(losses, chosen_rewards, rejected_rewards)`, each `[B]`; rewards carry no gradient.
    """
    chosen, rejected = (beta * _shaped(logps, alpha) for logps in (chosen_logps, rejected_logps))
    losses = -F.logsigmoid(chosen - rejected - gamma_beta_ratio * beta)
    return losses, chosen.detach(), rejected.detach()


def _shaped(logps: Tensor, alpha: float) -> Tensor:
    """`(1 - exp(-alpha * logps)) / alpha`, and its limit `logps` where `alpha` is too small to matter.

    The exponent is held at half of what the precision can express: an infinite reward would meet a gradient of zero,
    and the product would be NaN.
    """
    precision = torch.finfo(logps.dtype)
    if abs(alpha) < precision.eps**2:
        return logps
    return -torch.expm1((-alpha * logps).clamp(max=math.log(precision.max) / 2)) / alpha


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
