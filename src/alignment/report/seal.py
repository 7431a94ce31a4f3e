"""A mark at the end of a card by which it is known whether somebody has edited it since."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from huggingface_hub import RepoCard

    Card = TypeVar("Card", bound=RepoCard)

_SEAL = re.compile(r"\n<!-- written from \w+\.json, ([0-9a-f]{16}) -->\n\Z")


def sealed(card: Card, manifest: str) -> Card:
    """`card`, written from the file `manifest`, with the mark."""
    # Blank lines pile up where a section of the template is left out.
    card.text = re.sub(r"\n{3,}", "\n\n", card.text)
    card.text = f"{card.text.rstrip()}\n\n<!-- written from {manifest}, {_digest(str(card))} -->\n"
    return card


def edited_by_hand(text: str) -> bool:
    """Whether a card differs from what `sealed` once gave: then it is its author's, and is kept."""
    seal = _SEAL.search(text)
    return seal is None or _digest(text[: seal.start()]) != seal[1]


def _digest(text: str) -> str:
    return hashlib.sha256(text.strip().encode()).hexdigest()[:16]
