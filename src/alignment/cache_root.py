"""Where this package keeps what it need not make twice."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root() -> Path:
    """Folder of everything kept between runs: `$ALIGNMENT_CACHE`, or `~/.cache/alignment-handbook`."""
    stated = os.environ.get("ALIGNMENT_CACHE")
    return Path(stated).expanduser() if stated else Path.home() / ".cache" / "alignment-handbook"
