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


def shipped(folder: str) -> Path:
    """`recipes` or `configs`: the repository's own, or the copy that is installed with the package."""
    package = Path(__file__).resolve().parent
    repository = package.parents[1] / folder
    return repository if repository.is_dir() else package / "shipped" / folder


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


def shown_path(path: str | Path) -> str:
    """`path` as a reader of messages knows it: from the working directory, where it lies below it."""
    here = Path.cwd()
    return str(Path(path).relative_to(here) if Path(path).is_relative_to(here) else path)
