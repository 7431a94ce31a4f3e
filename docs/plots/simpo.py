"""The figures of docs/simpo.md, from the project's own loss: python docs/plots/simpo.py [folder]"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from figure import BLUE, GRAY, GREEN, IMAGES, ORANGE, panels, save
from torch import Tensor

from alignment.losses import simpo_loss

MARGINS = torch.linspace(-0.5, 1.5, 401)
"""r_w - r_l, nats per token."""
COLORS = (BLUE, ORANGE, GREEN)


def loss(margins: Tensor, *, beta: float, ratio: float) -> Tensor:
    """SimPO's loss of pairs by the margin between their mean log-probabilities."""
    return simpo_loss(margins, torch.zeros_like(margins), beta=beta, gamma_beta_ratio=ratio)[0]


def push(margins: Tensor, *, beta: float, ratio: float) -> Tensor:
    """How strongly a pair is pushed apart: minus the derivative of its loss."""
    wanted = margins.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(wanted, beta=beta, ratio=ratio).sum(), wanted)
    return -slope


def main(folder: Path) -> None:
    figure, (left, right) = panels(2, width=8.5, height=3.2)
    for beta, color in zip((2.0, 5.0, 10.0), COLORS, strict=True):
        left.plot(MARGINS, push(MARGINS, beta=beta, ratio=0.5) / beta, color=color, label=f"beta {beta:g}")
    for ratio, color in zip((0.1, 0.5, 0.8), COLORS, strict=True):
        right.plot(MARGINS, push(MARGINS, beta=10.0, ratio=ratio) / 10, color=color, label=f"gamma/beta {ratio:g}")
    left.axvline(0.5, color=GRAY, linestyle=":")
    left.set(title="gamma/beta 0.5: beta sets the width", ylabel="push on a pair / beta")
    right.set(title="beta 10: gamma/beta sets the place")
    for axes in (left, right):
        axes.set_xlabel("$r_w - r_l$, nats per token")
        axes.legend()
    save(figure, "simpo-push", folder)

    figure, (axes,) = panels(1, width=4.8, height=3.2)
    for beta, color in zip((2.0, 5.0, 10.0), COLORS, strict=True):
        axes.plot(MARGINS, loss(MARGINS, beta=beta, ratio=0.5), color=color, label=f"beta {beta:g}")
    axes.axvline(0.5, color=GRAY, linestyle=":")
    axes.set(title="gamma/beta 0.5", xlabel="$r_w - r_l$, nats per token", ylabel="loss of a pair", ylim=(0, 6))
    axes.legend()
    save(figure, "simpo-loss", folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES)
