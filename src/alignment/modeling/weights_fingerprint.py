"""A fingerprint of the weights in a folder that is quick to take, whatever their size."""

from __future__ import annotations

import hashlib
from pathlib import Path

_BLOCK = 1 << 16
_BLOCKS = 64
_WEIGHTS = ("*.safetensors", "*.bin", "*.gguf")


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
