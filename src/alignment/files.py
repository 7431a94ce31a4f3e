"""Where this package keeps things, and files written so that a reader finds the old content or the new."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def cache_root() -> Path:
    """Folder of everything kept between runs: `$ALIGNMENT_CACHE`, or `~/.cache/alignment-handbook`."""
    stated = os.environ.get("ALIGNMENT_CACHE")
    return Path(stated).expanduser() if stated else Path.home() / ".cache" / "alignment-handbook"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the place of `path` once the block has ended without an exception."""
    partial = path.with_name(f".{path.name}.partial")
    yield partial
    os.replace(partial, path)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write JSON, indented, with a newline at its end."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
