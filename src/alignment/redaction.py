"""Values fit to be published: plain JSON types, no local paths, no secrets."""

from __future__ import annotations

import dataclasses
import enum
import re
import tempfile
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from alignment.files import write_json

_ABSOLUTE_PATH = re.compile(r"(?:/|~/|[A-Za-z]:[\\/])[^\n]*")
_SECRET_KEY = re.compile(r"token|(?:.*_)?(?:hub_token|api_key|password|secret)")


def portable(value: Any, *, root: Path) -> Any:
    """`value` as plain JSON types; absolute paths below `root` become relative, others are cut to their name.

    A path that holds a model or data set is a fact worth keeping, where it lay on one machine is not:
    `/home/ann/repo/data/pairs.jsonl` becomes `data/pairs.jsonl`, `/scratch/ann/my-model` becomes `my-model`.
    Values of keys such as `hub_token` are dropped.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {
            str(key): portable(item, root=root)
            for key, item in value.items()
            if not _SECRET_KEY.fullmatch(str(key)) or item is None
        }
    if isinstance(value, enum.Enum):
        return portable(value.value, root=root)
    if isinstance(value, Path):
        return _portable_text(str(value), root)
    if isinstance(value, str):
        return _portable_text(value, root)
    if isinstance(value, Set):
        return sorted(portable(item, root=root) for item in value)
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [portable(item, root=root) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return str(value)


def write_portable(path: Path, content: Any) -> None:
    """Write `content` as JSON fit to be published; absolute paths below the working directory become relative."""
    write_json(path, portable(content, root=Path.cwd()))


def portable_command(words: Sequence[str], *, root: Path) -> list[str]:
    """A command line as `portable` would write it: `--key=/a/path` and `key=/a/path` keep their key, secrets go."""
    told: list[str] = []
    for word in words:
        after_secret = bool(told) and told[-1].startswith("--") and _is_secret(told[-1])
        told.append("..." if after_secret else portable_argument(word, root=root))
    return told


def portable_argument(argument: str, *, root: Path) -> str:
    """One word of a command line."""
    key, equals, value = argument.partition("=")
    if not (equals and re.fullmatch(r"[\w.\[\]-]+", key)):
        return _portable_text(argument, root)
    return f"{key}={'...' if _is_secret(key) else _portable_text(value, root)}"


def _is_secret(option: str) -> bool:
    return _SECRET_KEY.fullmatch(option.lstrip("-").rpartition(".")[2]) is not None


def _portable_text(text: str, root: Path) -> str:
    if _ABSOLUTE_PATH.fullmatch(text) and text != "/":
        path = Path(text)
        return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
    # Within a longer text only what lies in places of this machine is surely a path.
    places = {root, Path.home(), Path(tempfile.gettempdir())} - {Path("/")}
    starts = "|".join(re.escape(f"{place.as_posix()}/") for place in sorted(places, key=str, reverse=True))
    inside = re.compile(rf"(?<![\w.:/])(?:{starts})[^\s\"'`<>|,;)\]}}]+")
    return inside.sub(lambda match: _portable_text(match[0], root), text)
