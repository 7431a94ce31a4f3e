"""The path of a preference pair: files and mixtures -> checked rows -> text -> token ids -> batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alignment.lazy import lazily

if TYPE_CHECKING:
    from alignment.data.cache import PreparedRows, prepare_rows
    from alignment.data.chat import PairText, render_pair
    from alignment.data.check import CheckedRows, check_rows
    from alignment.data.load import Splits, load_dataset_splits
    from alignment.data.messages import RowFault
    from alignment.data.pairs import Pair
    from alignment.data.sources import SourceFacts
    from alignment.data.splits import TokenSplits, prepare_splits
    from alignment.data.statistics import TokenStatistics
    from alignment.data.token_rules import DPORules, SFTRules, TokenRules
    from alignment.data.tokenize import TokenizedPair, tokenize_pair, tokenize_preference
    from alignment.recipe.chat_templates import resolve_chat_template, shipped_templates

# Tokenizing one row must not import `datasets`, nor checking a recipe torch.
_EXPORTS = {
    "CheckedRows": "alignment.data.check",
    "DPORules": "alignment.data.token_rules",
    "Pair": "alignment.data.pairs",
    "PairText": "alignment.data.chat",
    "PreparedRows": "alignment.data.cache",
    "RowFault": "alignment.data.messages",
    "SFTRules": "alignment.data.token_rules",
    "SourceFacts": "alignment.data.sources",
    "Splits": "alignment.data.load",
    "TokenRules": "alignment.data.token_rules",
    "TokenSplits": "alignment.data.splits",
    "TokenStatistics": "alignment.data.statistics",
    "TokenizedPair": "alignment.data.tokenize",
    "check_rows": "alignment.data.check",
    "load_dataset_splits": "alignment.data.load",
    "prepare_rows": "alignment.data.cache",
    "prepare_splits": "alignment.data.splits",
    "render_pair": "alignment.data.chat",
    "resolve_chat_template": "alignment.recipe.chat_templates",
    "shipped_templates": "alignment.recipe.chat_templates",
    "tokenize_pair": "alignment.data.tokenize",
    "tokenize_preference": "alignment.data.tokenize",
}

__all__ = [
    "CheckedRows",
    "DPORules",
    "Pair",
    "PairText",
    "PreparedRows",
    "RowFault",
    "SFTRules",
    "SourceFacts",
    "Splits",
    "TokenRules",
    "TokenSplits",
    "TokenStatistics",
    "TokenizedPair",
    "check_rows",
    "load_dataset_splits",
    "prepare_rows",
    "prepare_splits",
    "render_pair",
    "resolve_chat_template",
    "shipped_templates",
    "tokenize_pair",
    "tokenize_preference",
]

__getattr__ = lazily(__name__, _EXPORTS)
