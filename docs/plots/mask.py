"""The figure of docs/fast-path.md, from the layout that packed rows use: python docs/plots/mask.py [folder]"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import torch
from figure import BLUE, GREEN, IMAGES, ORANGE, panels, save
from matplotlib.colors import ListedColormap
from torch import Tensor

from alignment.modeling.attention.layout import SharedPrompts, visible_keys

PAIRS = ((4, 3, 2), (3, 2, 3))
"""Tokens of prompt, chosen and rejected of the pairs that are drawn."""
NAMES = ("prompt", "chosen", "rejected")


def mask_of(layout: SharedPrompts) -> Tensor:
    """`[T, T]` bool: which tokens of a packed row (columns) each of its tokens (rows) sees."""
    seen = torch.zeros(layout.tokens, layout.tokens, dtype=torch.bool)
    first = 0
    keys = layout.key_index.split(layout.key_lengths)
    for queries, places in zip(layout.query_lengths, keys, strict=True):
        seen[first : first + queries, places] = visible_keys(queries, len(places), None, layout.device)
        first += queries
    return seen


def main(folder: Path) -> None:
    layout = SharedPrompts(PAIRS, torch.device("cpu"))
    shade = torch.where(mask_of(layout), layout.roles[None, :] + 1, 0)
    figure, (axes,) = panels(1, width=5.6, height=5.2)
    axes.imshow(shade, cmap=ListedColormap(["white", BLUE, GREEN, ORANGE]), vmin=0, vmax=3)
    edges = [0]
    for pair in PAIRS:
        for length in pair:
            edges.append(edges[-1] + length)
    for edge in edges[1:-1]:
        thick = 1.6 if edge == sum(PAIRS[0]) else 0.5
        axes.axhline(edge - 0.5, color="black", linewidth=thick)
        axes.axvline(edge - 0.5, color="black", linewidth=thick)
    centers = [(low + high - 1) / 2 for low, high in pairwise(edges)]
    axes.set_xticks(centers, NAMES * 2, rotation=45, ha="right")
    axes.set_yticks(centers, NAMES * 2)
    axes.tick_params(length=0)
    axes.spines[["top", "right"]].set_visible(True)
    axes.set(title="Two pairs in one packed row", xlabel="is seen", ylabel="sees")
    save(figure, "mask", folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES)
