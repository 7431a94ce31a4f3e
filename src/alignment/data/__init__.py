"""The path of a preference pair: files and mixtures -> checked rows -> text -> token ids -> batches."""

from __future__ import annotations

import importlib
from typing import Any

# Names are resolved on first use: tokenising one row must not import `datasets`, nor checking a recipe torch.
_EXPORTS = {
    "CheckedRows": "check",
    "DPORules": "rules",
    "Pair": "pairs",
    "PairText": "chat",
    "PreparedRows": "cache",
    "RowFault": "messages",
    "SFTRules": "rules",
    "SourceFacts": "sources",
    "Splits": "load",
    "TokenRules": "rules",
    "TokenSplits": "splits",
    "TokenStatistics": "statistics",
    "TokenizedPair": "tokenize",
    "check_rows": "check",
    "load_dataset_splits": "load",
    "prepare_rows": "cache",
    "prepare_splits": "splits",
    "render_pair": "chat",
    "resolve_chat_template": "template",
    "shipped_templates": "template",
    "tokenize_pair": "tokenize",
    "tokenize_preference": "tokenize",
}

__all__ = list(_EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_EXPORTS[name]}", __name__), name)
