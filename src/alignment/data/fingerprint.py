"""Fingerprints: equal rows, templates and tokenizers give equal digests, on every machine and in every process."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase


def content_fingerprint(dataset: Dataset) -> str:
    """sha256 of the rows in their order: of what they say, not of how Arrow happens to lay them out, nor of where they
    come from (`origin`)."""
    digest = hashlib.sha256()
    for batch in dataset.with_format(None).iter(batch_size=1000):
        columns = sorted(column for column in batch if column != "origin")
        for values in zip(*(batch[column] for column in columns), strict=True):
            digest.update(_canonical(dict(zip(columns, values, strict=True))))
    return digest.hexdigest()


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """sha256 of everything that decides which ids a rendered conversation gets: vocabulary, rules, special
    tokens."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    state = {
        "class": type(tokenizer).__name__,
        "rules": backend.to_str() if backend is not None else sorted(tokenizer.get_vocab().items()),
        "special": {name: str(token) for name, token in tokenizer.special_tokens_map.items()},
        "bos": tokenizer.bos_token_id,
        "eos": tokenizer.eos_token_id,
        "template": tokenizer.chat_template,
    }
    return digest_of(state)


def digest_of(value: Any) -> str:
    """sha256 of a JSON-like value."""
    return hashlib.sha256(_canonical(value)).hexdigest()


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode("utf-8") + b"\n"
