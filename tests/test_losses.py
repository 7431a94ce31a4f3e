"""Losses against values worked out by hand, and against TRL's for ORPO."""

from __future__ import annotations

import math
import os

import pytest
import torch

from alignment.losses import orpo_loss, simpo_loss


def losses(chosen, rejected, **settings):
    return simpo_loss(torch.tensor([chosen]), torch.tensor([rejected]), **settings)


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


@pytest.mark.parametrize(
    ("chosen", "rejected", "settings", "expected"),
    [
        # z = 10 * (-0.5 - (-1.0) - 0.5) = 0, so the loss is log 2.
        (-0.5, -1.0, {"beta": 10.0, "gamma_beta_ratio": 0.5}, math.log(2)),
        # z = 2 * (-1 + 2 - 0.25) = 1.5, so the loss is log(1 + e^-1.5).
        (-1.0, -2.0, {"beta": 2.0, "gamma_beta_ratio": 0.25}, softplus(-1.5)),
        # The same with a tenth of the labels flipped.
        (
            -1.0,
            -2.0,
            {"beta": 2.0, "gamma_beta_ratio": 0.25, "label_smoothing": 0.1},
            0.9 * softplus(-1.5) + 0.1 * softplus(1.5),
        ),
        # hinge: max(0, 1 - 1.5) and max(0, 1 + 2.5), z = 2 * (-2 + 1 - 0.25).
        (-1.0, -2.0, {"beta": 2.0, "gamma_beta_ratio": 0.25, "loss_type": "hinge"}, 0.0),
        (-2.0, -1.0, {"beta": 2.0, "gamma_beta_ratio": 0.25, "loss_type": "hinge"}, 3.5),
    ],
)
def test_simpo_by_hand(chosen, rejected, settings, expected):
    loss, chosen_reward, rejected_reward = losses(chosen, rejected, **settings)
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    assert chosen_reward.item() == pytest.approx(settings["beta"] * chosen)
    assert rejected_reward.item() == pytest.approx(settings["beta"] * rejected)


def test_simpo_gradient_by_hand():
    """d loss / d r_w = -beta * sigmoid(-z); at z = 0 that is -beta / 2."""
    chosen = torch.tensor([-0.5], requires_grad=True)
    rejected = torch.tensor([-1.0], requires_grad=True)
    loss, chosen_reward, _ = simpo_loss(chosen, rejected, beta=10.0, gamma_beta_ratio=0.5)
    loss.sum().backward()
    assert chosen.grad.item() == pytest.approx(-5.0)
    assert rejected.grad.item() == pytest.approx(5.0)
    assert not chosen_reward.requires_grad


def test_simpo_stays_finite_far_from_the_margin():
    loss, _, _ = losses(-1000.0, 0.0, beta=10.0, gamma_beta_ratio=0.5)
    assert loss.item() == pytest.approx(10005.0)


def test_unknown_loss_type_is_refused():
    with pytest.raises(ValueError, match="ipo"):
        losses(-1.0, -2.0, beta=1.0, gamma_beta_ratio=0.0, loss_type="ipo")


def test_orpo_by_hand():
    """p = 0.5 and 0.2 have odds 1 and 0.25: the loss is 0.1 * log(1 + 1/4)."""
    loss, reward, _ = orpo_loss(torch.tensor([0.5]).log(), torch.tensor([0.2]).log(), beta=0.1)
    assert loss.item() == pytest.approx(0.1 * math.log(1.25), rel=1e-5)
    assert reward.item() == pytest.approx(0.1 * math.log(0.5))


@pytest.mark.parametrize("logp", [0.0, -1e-12, -1e-4, -0.6931, -0.6932, -5.0, -200.0])
def test_orpo_loss_and_gradient_stay_finite(logp):
    chosen = torch.tensor([logp], requires_grad=True)
    loss, _, _ = orpo_loss(chosen, torch.tensor([-1.0]), beta=0.1)
    loss.backward()
    assert torch.isfinite(loss).all()
    assert torch.isfinite(chosen.grad).all()


def test_orpo_equals_trl():
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    from types import SimpleNamespace

    from trl.experimental.orpo import ORPOTrainer

    chosen, rejected = -torch.rand(64) * 3 - 1e-3, -torch.rand(64) * 3 - 1e-3
    settings = SimpleNamespace(beta=0.25, accelerator=SimpleNamespace(device="cpu"))
    theirs, *_ = ORPOTrainer.odds_ratio_loss(settings, chosen, rejected)
    mine, _, _ = orpo_loss(chosen, rejected, beta=0.25)
    assert torch.allclose(mine, -theirs, rtol=1e-5, atol=1e-7)


def test_simpo_equals_trl():
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    from types import SimpleNamespace

    from trl.experimental.cpo import CPOTrainer

    chosen, rejected = -torch.rand(64) * 3, -torch.rand(64) * 3
    settings = SimpleNamespace(
        beta=10.0,
        simpo_gamma=5.0,
        label_smoothing=0.1,
        loss_type="simpo",
        alpha=0.0,
        accelerator=SimpleNamespace(device="cpu"),
    )
    theirs, *_ = CPOTrainer.cpo_loss(settings, chosen, rejected)
    mine, _, _ = simpo_loss(chosen, rejected, beta=10.0, gamma_beta_ratio=0.5, label_smoothing=0.1)
    assert torch.allclose(mine, theirs, rtol=1e-5, atol=1e-6)
