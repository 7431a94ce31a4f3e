"""Losses against values worked out by hand, and against TRL's for ORPO."""

from __future__ import annotations

import math
import os

import pytest
import torch

from alignment.losses import alphapo_loss, orpo_loss, repo_loss, simper_loss, simpo_loss


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


def at(*logps: float, dtype=torch.float64) -> torch.Tensor:
    return torch.tensor(logps, dtype=dtype, requires_grad=True)


def test_simper_by_hand():
    """p = 0.5 and 0.2: the loss is 0.2 - 0.5, and its gradient in the mean log-probability is p itself."""
    chosen, rejected = at(math.log(0.5)), at(math.log(0.2))
    loss, chosen_reward, rejected_reward = simper_loss(chosen, rejected)
    loss.sum().backward()
    assert loss.item() == pytest.approx(-0.3)
    assert (chosen_reward.item(), rejected_reward.item()) == pytest.approx((0.5, 0.2))
    assert (chosen.grad.item(), rejected.grad.item()) == pytest.approx((-0.5, 0.2))
    assert not chosen_reward.requires_grad and not rejected_reward.requires_grad


def test_repo_by_hand():
    """With a margin of 0.4: pairs 0.5 apart cost nothing, 0.1 apart 0.3, and 1 apart the wrong way 1.4."""
    chosen, rejected = at(-1.0, -1.0, -2.0), at(-1.5, -1.1, -1.0)
    loss, chosen_reward, rejected_reward = repo_loss(chosen, rejected, gamma=0.4)
    loss.sum().backward()
    assert loss.tolist() == pytest.approx([0.0, 0.3, 1.4])
    assert (chosen_reward.tolist(), rejected_reward.tolist()) == (chosen.tolist(), rejected.tolist())
    assert (chosen.grad.tolist(), rejected.grad.tolist()) == ([0, -1, -1], [0, 1, 1])


def test_alphapo_by_hand():
    """alpha 1, p = 0.5 and 0.2: rewards 2 * (1 - 1/p) = -2 and -8; with a margin of 2 * 0.5 the loss is that of 5."""
    settings = {"beta": 2.0, "gamma_beta_ratio": 0.5, "alpha": 1.0}
    chosen, rejected = at(math.log(0.5)), at(math.log(0.2))
    loss, chosen_reward, rejected_reward = alphapo_loss(chosen, rejected, **settings)
    loss.sum().backward()
    assert loss.item() == pytest.approx(softplus(-5.0))
    assert (chosen_reward.item(), rejected_reward.item()) == pytest.approx((-2.0, -8.0))
    # d reward / d log p = 2 / p, and d loss / d margin = -sigmoid(-5)
    slope = 1 / (1 + math.exp(5.0))
    assert (chosen.grad.item(), rejected.grad.item()) == pytest.approx((-4 * slope, 10 * slope))
    assert not chosen_reward.requires_grad


def test_alphapo_with_a_negative_alpha_by_hand():
    """alpha -1 rewards the probability itself: beta * (p - 1)."""
    loss, chosen_reward, rejected_reward = alphapo_loss(
        at(math.log(0.5)), at(math.log(0.2)), beta=2.0, gamma_beta_ratio=0.0, alpha=-1.0
    )
    assert (chosen_reward.item(), rejected_reward.item()) == pytest.approx((-1.0, -1.6))
    assert loss.item() == pytest.approx(softplus(-0.6))


@pytest.mark.parametrize("alpha", [0.0, 1e-300, 1e-12, -1e-12])
def test_alphapo_without_a_shape_is_simpo(alpha):
    chosen, rejected = at(-0.5, -3.0, -1e-4), at(-1.0, -0.2, -20.0)
    settings = {"beta": 2.5, "gamma_beta_ratio": 0.1}
    for mine, theirs in zip(
        alphapo_loss(chosen, rejected, **settings, alpha=alpha),
        simpo_loss(chosen, rejected, **settings),
        strict=True,
    ):
        assert torch.allclose(mine, theirs, rtol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("alpha", [-2.0, -0.25, 1e-20, 1e-9, 0.25, 1.0, 50.0])
@pytest.mark.parametrize(("chosen", "rejected"), [(0.0, -1e4), (-1e4, 0.0), (-1e4, -1e4), (0.0, 0.0), (-1e-9, -0.7)])
def test_alphapo_loss_and_gradient_stay_finite(chosen, rejected, alpha, dtype):
    chosen, rejected = at(chosen, dtype=dtype), at(rejected, dtype=dtype)
    loss, *rewards = alphapo_loss(chosen, rejected, beta=10.0, gamma_beta_ratio=0.5, alpha=alpha)
    loss.sum().backward()
    for value in (loss, *rewards, chosen.grad, rejected.grad):
        assert torch.isfinite(value).all()


def test_alphapo_equals_trl():
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    from types import SimpleNamespace

    from trl.experimental.cpo import CPOTrainer

    chosen, rejected = -torch.rand(64) * 3, -torch.rand(64) * 3
    settings = SimpleNamespace(
        beta=2.5,
        simpo_gamma=0.25,
        label_smoothing=0.0,
        loss_type="simpo",
        alpha=0.25,
        accelerator=SimpleNamespace(device="cpu"),
    )
    theirs = CPOTrainer.cpo_loss(settings, chosen, rejected)
    mine = alphapo_loss(chosen, rejected, beta=2.5, gamma_beta_ratio=0.1, alpha=0.25)
    for expected, found in zip(theirs, mine, strict=True):
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5)
