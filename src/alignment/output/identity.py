"""What makes a run this run: its recipe, rows, tokenizer, chat template and the weights it starts from.

A checkpoint goes on, and a finished folder counts as this recipe's, only where all of them are the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from alignment.errors import Fault

_BLOCK = 1 << 16
_BLOCKS = 64
_WEIGHTS = ("*.safetensors", "*.bin", "*.gguf")

NAMES: Mapping[str, tuple[str, str]] = {
    "rows": ("the data", "its rows are"),
    "tokenizer": ("the tokenizer", "it, or its chat template, is"),
    "base_weights": ("model_name_or_path", "its weights are"),
}
"""Parts of an identity beside the recipe: the key that a message names, and the words for it."""


def run_identity(recipe: Mapping[str, Any], *, rows: str, tokenizer: str, base_weights: str) -> dict[str, Any]:
    """The identity of a run as plain JSON: the recipe as stated, and one digest for each of `NAMES`."""
    return {
        "recipe": dict(recipe),
        "rows": rows,
        "tokenizer": tokenizer,
        "base_weights": base_weights,
    }


def weights_fingerprint(folder: Path) -> str:
    """sha256 over the configuration and, of every weight file, name, size and 64 blocks of 64 KiB spread evenly.

    Reading all of a large model would take minutes; training anything changes every matrix, so the blocks tell.
    """
    digest = hashlib.sha256()
    config = folder / "config.json"
    if config.is_file():
        digest.update(config.read_bytes())
    for path in sorted(path for pattern in _WEIGHTS for path in folder.glob(pattern)):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with path.open("rb") as stream:
            for at in range(0, size, max(_BLOCK, size // _BLOCKS)):
                stream.seek(at)
                digest.update(stream.read(_BLOCK))
    return digest.hexdigest()


def differences(
    before: Mapping[str, Any], now: Mapping[str, Any], *, what: str, remedy: str, keys: Iterable[str] = NAMES
) -> Iterator[Fault]:
    """A fault for every one of `keys` that differs between two identities.

    Args:
        what: which run the first one belongs to, such as `checkpoint-6 in outputs/x was trained on`.
        remedy: what to do about it.
    """
    for key in keys:
        if key in before and before[key] != now.get(key):
            name, subject = NAMES[key]
            yield Fault(key=name, rule=f"has changed: {subject} not what {what}", remedy=remedy)
