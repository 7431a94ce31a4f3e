"""The path of a preference pair: files and mixtures -> checked rows -> text -> token ids -> batches."""

from __future__ import annotations

from alignment.lazy import lazily

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

__all__ = list(_EXPORTS)
__getattr__ = lazily(__name__, _EXPORTS)
