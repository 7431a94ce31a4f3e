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
    columns = sorted(column for column in dataset.column_names if column != "origin")
    for table in dataset.with_format("arrow").iter(batch_size=1000):
        for column in columns:
            digest.update(column.encode())
            _digest_values(table[column].combine_chunks(), digest)
    return digest.hexdigest()


def _digest_values(values: Any, digest: Any) -> None:
    """A pyarrow array: how many values, which of them are null, and the others, those of lists and structs in turn."""
    import pyarrow as pa
    import pyarrow.compute as pc

    digest.update(f"{len(values)}".encode())
    digest.update(pc.is_null(values).to_numpy(zero_copy_only=False).tobytes())
    if pa.types.is_struct(values.type):
        for field in sorted(field.name for field in values.type):
            digest.update(field.encode())
            _digest_values(pc.struct_field(values, field), digest)
        return
    values = values.drop_null()
    if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        digest.update(pc.list_value_length(values).cast("int64").to_numpy(zero_copy_only=False).tobytes())
        _digest_values(values.flatten(), digest)
    elif pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        _digest_texts(values.cast(pa.large_string()), digest)
    else:
        digest.update(_canonical(values.to_pylist()))


def _digest_texts(texts: Any, digest: Any) -> None:
    """Of an array without nulls: how long each text is, and all of them in a row."""
    import numpy as np

    if len(texts):
        _, offsets, content = texts.buffers()
        ends = np.frombuffer(offsets, dtype=np.int64)[texts.offset : texts.offset + len(texts) + 1]
        digest.update(np.diff(ends).tobytes())
        digest.update(memoryview(content)[ends[0] : ends[-1]] if content else b"")


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
