"""Scorers of conversations: reward models, ArmoRM, a judge behind an endpoint, a function.

`load_scorer("<folder, Hub id, address or dotted path>").score(conversations)` gives one number for each conversation.
"""

from __future__ import annotations

from typing import Any

# Resolved on first use: naming a scorer in a recipe must not import torch.
_EXPORTS = {"Scorer": "scorer", "load_scorer": "load"}

__all__ = ["Scorer", "load_scorer"]


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)
