"""The command line as changes to a recipe: `--key value`, `--key=value`, `--a.b[0].c value`, a bare `--flag`.

Only the split into keys and values happens here. What they may be is checked together with the file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from alignment.errors import Fault, RecipeError
from alignment.recipe.yaml_document import DEEPEST, Document, Origin, Plain, join, merge, parse_value

_OPTION = re.compile(r"--[A-Za-z_]")
_PART = re.compile(r"\[([0-9]{1,9})\]|([^.\[\]]+)")
_INDEX = re.compile(r"[0-9]{1,9}")
_KEY = re.compile(r"[^.\[\]]+(\.[^.\[\]]+|\[[0-9]{1,9}\])*")


class Override(NamedTuple):
    """One change: the path to the setting, and the tree that goes there."""

    key: str
    parts: tuple[str | int, ...]
    value: Any


def parse_overrides(argv: Sequence[str]) -> tuple[list[Override], list[Fault]]:
    """Splits `argv`. Several words after one key are a list; none at all means true.

    A value that begins with `--` needs the `--key=value` form.
    """
    overrides: list[Override] = []
    faults: list[Fault] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        if not _OPTION.match(word):
            rule = "is not an override" if "=" not in word else "lacks its dashes"
            faults.append(_fault(word, rule, "write --key value or --key=value"))
            continue
        name, equals, inline = word[2:].partition("=")
        texts = [inline] if equals else []
        while words and not equals and not _OPTION.match(words[0]):
            texts.append(words.pop(0))
        if not _KEY.fullmatch(name):
            faults.append(_fault(word, "is not a key", "write --key, --key.inner or --key[0].inner"))
            continue
        if equals and not inline:
            faults.append(_fault(name, "is given an empty value", f"write --{name}=null for none at all"))
            continue
        parts = tuple(int(at) if at else part.replace("-", "_") for at, part in _PART.findall(name))
        parts = tuple(int(part) if isinstance(part, str) and _INDEX.fullmatch(part) else part for part in parts)
        if len(parts) > DEEPEST:
            faults.append(_fault(f"{name[:40]}…", f"has more than {DEEPEST} parts", "a recipe needs five"))
            continue
        key = ""
        for part in parts:
            key = join(key, part)
        if any(key == earlier.key for earlier in overrides):
            faults.append(_fault(key, "is stated twice", "keep one of the two"))
            continue
        try:
            values = [parse_value(text, key=key) for text in texts]
        except RecipeError as error:
            faults.extend(error.faults)
            continue
        value = Plain("true", True) if not values else values[0] if len(values) == 1 else values
        overrides.append(Override(key, parts, value))
    return overrides, faults


def apply_overrides(document: Document, overrides: Sequence[Override]) -> Document:
    """`document` with every override put in its place; the input stays as it is."""
    tree, origins, faults = document.tree, dict(document.origins), list(document.faults)
    for override in overrides:
        try:
            tree = _put(tree, override.parts, override.value)
        except (IndexError, TypeError) as error:
            faults.append(_fault(override.key, str(error), ""))
            continue
        for key in list(origins):
            if any(key == changed or key.startswith((f"{changed}.", f"{changed}[")) for changed in _changed(override)):
                del origins[key]
        origins[override.key] = Origin()
    return Document(tree, origins, faults)


def _changed(override: Override) -> list[str]:
    """The dotted keys that an override replaces whole."""
    if isinstance(override.value, dict):
        return [join(override.key, name) for name in override.value]
    return [override.key]


def _put(tree: Any, parts: tuple[str | int, ...], value: Any) -> Any:
    """A copy of `tree` with `value` at `parts`; a mapping put on a mapping merges into it."""
    if not parts:
        both = isinstance(tree, dict) and isinstance(value, dict)
        return merge(Document(tree), Document(value)).tree if both else value
    head, rest = parts[0], parts[1:]
    if isinstance(head, int):
        if not isinstance(tree, list):
            raise TypeError(f"asks for entry {head}, but there is no list to take it from")
        if head >= len(tree):
            raise IndexError(f"asks for entry {head}, but the list has {len(tree)}, counted from 0")
        return [_put(item, rest, value) if at == head else item for at, item in enumerate(tree)]
    inner = tree if isinstance(tree, dict) else {}
    return {**inner, head: _put(inner.get(head), rest, value)}


def _fault(key: str, rule: str, remedy: str) -> Fault:
    return Fault(key=key, rule=rule, remedy=remedy, source=str(Origin()))
