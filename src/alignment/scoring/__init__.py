"""Scorers of conversations: reward models, ArmoRM, a judge behind an endpoint, a function.

`load_scorer("<folder, Hub id, address or dotted path>").score(conversations)` gives one number for each conversation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alignment.lazy import lazily

if TYPE_CHECKING:
    from alignment.scoring.load import check_scorer, load_scorer
    from alignment.scoring.scorer import Scorer

# Naming a scorer in a recipe must not import torch.
_EXPORTS = {
    "Scorer": "alignment.scoring.scorer",
    "check_scorer": "alignment.scoring.load",
    "load_scorer": "alignment.scoring.load",
}

__all__ = ["Scorer", "check_scorer", "load_scorer"]

__getattr__ = lazily(__name__, _EXPORTS)
