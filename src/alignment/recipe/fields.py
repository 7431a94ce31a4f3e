"""The keys of a method's config class, with types and defaults, kept on disk between commands.

Reading them from the class imports transformers, which takes seconds; a recipe is checked in a fraction of one.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import sys
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from dataclasses import fields as dataclass_fields
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from alignment.files import cache_root
from alignment.methods import METHODS
from alignment.recipe.types import hints

_PLAIN: Mapping[str, Any] = {"any": Any, "null": type(None)} | {
    kind.__name__: kind for kind in (bool, int, float, str, dict, list)
}
_LIBRARIES = ("transformers", "trl", "alignment-handbook-simpo")


@dataclass(frozen=True, kw_only=True)
class Fields:
    """What a config class declares."""

    types: Mapping[str, Any]
    """Names and types; an enum is the `Literal` of its values."""
    defaults: Mapping[str, Any]
    """Those that have one."""


@cache
def fields_of(method: str) -> Fields:
    """The fields of the config class of `method`."""
    kept = cache_root() / "fields" / f"{method}-{_state()}.json"
    try:
        table = json.loads(kept.read_text())
        return Fields(**{**table, "types": {name: _read(spelled) for name, spelled in table["types"].items()}})
    except (OSError, ValueError, KeyError, TypeError):
        declared = _declared(method)
    _keep(kept, declared)
    return declared


def _declared(method: str) -> Fields:
    config = METHODS[method].config_class()
    defaults: dict[str, Any] = {}
    for field in dataclass_fields(config):
        if field.default is not MISSING:
            defaults[field.name] = getattr(field.default, "value", field.default)
        elif field.default_factory is not MISSING:
            defaults[field.name] = field.default_factory()
    return Fields(
        types={name: _read(_spelled(declared)) for name, declared in hints(config).items()},
        defaults=defaults,
    )


def _keep(path: Path, declared: Fields) -> None:
    """Write `declared` to `path`, where that is possible: the next command only takes longer without it."""
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    table = {**vars(declared), "types": {name: _spelled(kind) for name, kind in declared.types.items()}}
    try:
        text = json.dumps(table)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text)
        os.replace(partial, path)
    except (OSError, TypeError, ValueError):
        return


def _state() -> str:
    """A digest of everything that the fields come from: the libraries' versions and our own config classes."""
    told = [sys.version, *(f"{name} {_version(name)}" for name in _LIBRARIES)]
    package = Path(__file__).resolve().parents[1]
    for path in sorted([*package.glob("trainers/*.py"), package / "methods.py", Path(__file__)]):
        status = path.stat()
        told.append(f"{path} {status.st_mtime_ns} {status.st_size}")
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _spelled(declared: Any) -> Any:
    """A type as JSON."""
    for name, kind in _PLAIN.items():
        if declared is kind:
            return name
    if isinstance(declared, type) and issubclass(declared, Enum):
        return {"words": [member.value for member in declared]}
    inner = get_args(declared)
    if get_origin(declared) is Literal:
        return {"words": list(inner)}
    if get_origin(declared) in (Union, types.UnionType):
        enums = any(isinstance(member, type) and issubclass(member, Enum) for member in inner)
        # transformers adds `str` to enums for its own command-line parser.
        return {"either": [_spelled(member) for member in inner if not (enums and member is str)]}
    if get_origin(declared) in (list, dict):
        return {get_origin(declared).__name__: [_spelled(member) for member in inner]}
    return "any"


def _read(spelled: Any) -> Any:
    """The type that `_spelled` wrote."""
    if isinstance(spelled, str):
        return _PLAIN[spelled]
    ((form, inner),) = spelled.items()
    if form == "words":
        return Literal[tuple(inner)]
    members = tuple(_read(member) for member in inner)
    if form == "either":
        return Union[members]  # noqa: UP007 (built at run time)
    return {"list": list, "dict": dict}[form][members]  # type: ignore[index]
