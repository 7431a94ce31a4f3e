"""The path of a preference pair: files and mixtures -> checked rows -> text -> token ids -> batches."""

from __future__ import annotations

import importlib
from typing import Any

# Names are resolved on first use: tokenising one row must not import `datasets`, nor checking a recipe torch.
_EXPORTS = {
    "CheckedRows": "check",
    "Pair": "pairs",
    "PairText": "chat",
    "PreparedPairs": "cache",
    "RowFault": "pairs",
    "SourceFacts": "load",
    "Splits": "load",
    "TokenRules": "rules",
    "TokenStatistics": "statistics",
    "TokenizedPair": "tokenize",
    "check_rows": "check",
    "load_dataset_splits": "load",
    "prepare_pairs": "cache",
    "render_pair": "chat",
    "resolve_chat_template": "template",
    "shipped_templates": "template",
    "to_trl_conversation": "formats",
    "to_trl_preference": "formats",
    "tokenize_pair": "tokenize",
    "tokenize_preference": "tokenize",
}

__all__ = list(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_EXPORTS[name]}", __name__), name)
