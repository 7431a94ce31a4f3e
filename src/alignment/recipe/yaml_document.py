"""YAML, read strictly: duplicate keys are faults, every key knows its line, and no scalar loses its spelling.

YAML 1.1 turns `no` into false and keeps `1e-6` as text, whatever the setting wants. So a plain scalar is kept both
ways, as `Plain(text, value)`, and the type of the setting decides (`alignment.recipe.types`): `eval_strategy: no` is
the text "no", `bf16: no` is false, `learning_rate: 1e-6` is a number and `run_name: 010` is the text "010".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from alignment.errors import Fault, RecipeError

_BOOLEANS = {word: True for word in ("true", "yes", "on", "y")} | {word: False for word in ("false", "no", "off", "n")}
_NULLS = {"", "~", "null", "Null", "NULL"}
_DIGITS = r"[0-9]+(_[0-9]+)*"
_INT = re.compile(rf"[-+]?{_DIGITS}")
_FLOAT = re.compile(rf"[-+]?({_DIGITS}\.?|({_DIGITS})?\.[0-9]+)([eE][-+]?[0-9]+)?")
_MOST_DIGITS = 400
"""A longer number is no setting; it is kept as the text that it is."""
DEEPEST = 24
"""Levels of mappings and lists; a recipe needs five."""
_MOST_NODES = 50_000
"""Values after every alias has been followed; a few lines of YAML can stand for billions."""
_NOT_FINITE = re.compile(r"[-+]?\.?(inf|nan)", re.IGNORECASE)


class Plain(NamedTuple):
    """An unquoted scalar that reads as something other than text."""

    text: str
    """As it was written."""
    value: bool | int | float | None
    """As YAML would read it."""


class Origin(NamedTuple):
    """Where a key was stated."""

    path: Path | None = None
    """The file, or None for the command line."""
    line: int = 0
    """Line in the file, from 1."""

    def __str__(self) -> str:
        return f"{self.path.name}:{self.line}" if self.path else "command line"


@dataclass
class Document:
    """A tree of dicts, lists, str, None and `Plain`, and where each dotted key was stated."""

    tree: dict[str, Any]
    origins: dict[str, Origin] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


class _Loader(yaml.SafeLoader):
    """Only the grammar of YAML: what a scalar means is decided in `plain_scalar`."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node:
        self._depth += 1
        if self._depth > DEEPEST:
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem=f"more than {DEEPEST} levels of nesting", problem_mark=mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


_Loader.yaml_implicit_resolvers = {}
_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map")}


def read_document(path: Path) -> Document:
    """The YAML file at `path`. Raises RecipeError when it is not YAML or not a mapping."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise RecipeError(Fault(key=str(path), rule=f"cannot be read: {reason}")) from error
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise RecipeError(_syntax_fault(str(path), error)) from error
    if not isinstance(node, yaml.MappingNode):
        raise RecipeError(
            Fault(key=str(path), rule="must hold `key: value` lines", remedy="a recipe is a YAML mapping")
        )
    document = Document({})
    document.tree = _Builder(path, document).build(node, "")
    return document


def parse_value(text: str, *, key: str) -> Any:
    """One value from the command line: flow syntax after `[`, `{` or a quote, otherwise a scalar as it stands.

    So `a=b`, `a: b` and `a #1` stay whole, and inline Jinja (`{{`, `{%`, `{#`) is text.
    """
    if text[:1] not in ("[", "{", '"', "'") or text[:2] in ("{{", "{%", "{#"):
        return plain_scalar(text)
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise RecipeError(_syntax_fault(f"--{key}", error)) from error
    document = Document({})
    value = _Builder(None, document).build(node, key)
    if document.faults:
        raise RecipeError(document.faults)
    return value


def plain_scalar(text: str) -> Any:
    """What an unquoted scalar may mean: text, None, or a `Plain` with both readings."""
    word = text.lower()
    if text in _NULLS:
        return None
    if word == "none":
        return Plain(text, None)
    if word in _BOOLEANS:
        return Plain(text, _BOOLEANS[word])
    if len(text) > _MOST_DIGITS:
        return text
    if _INT.fullmatch(text):
        return Plain(text, int(text))
    if _FLOAT.fullmatch(text):
        return Plain(text, float(text))
    if _NOT_FINITE.fullmatch(text):
        return Plain(text, float(word.replace(".", "")))
    return text


def join(prefix: str, part: str | int) -> str:
    """The dotted key of an entry: `a.b`, `a[0]`."""
    if isinstance(part, int):
        return f"{prefix}[{part}]"
    return f"{prefix}.{part}" if prefix else part


class _Builder:
    """Nodes to a tree, noting origins and faults in `document`."""

    def __init__(self, path: Path | None, document: Document) -> None:
        self._path = path
        self._document = document
        self._nodes = 0

    def build(self, node: yaml.Node, key: str, above: tuple[int, ...] = ()) -> Any:
        """`node`, which stands at `key`, as a tree. `above` are the ids of the enclosing nodes."""
        origin = Origin(self._path, node.start_mark.line + 1)
        self._document.origins.setdefault(key, origin)
        self._nodes += 1
        if self._nodes > _MOST_NODES:
            raise RecipeError(
                _fault(key[:80], origin, f"is one of more than {_MOST_NODES} values", "remove the YAML aliases")
            )
        if node.tag not in _TAGS:
            self._refuse(key, origin, f"must not carry the YAML tag {node.tag}", "write the bare value")
            return None
        if id(node) in above:
            self._refuse(key, origin, "must not contain itself", "remove the YAML alias")
            return None
        above = (*above, id(node))
        if isinstance(node, yaml.ScalarNode):
            return plain_scalar(node.value) if node.style is None else node.value
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, join(key, at), above) for at, item in enumerate(node.value)]
        return self._mapping(node, key, above)

    def _mapping(self, node: yaml.Node, key: str, above: tuple[int, ...]) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for name_node, value_node in node.value:
            where = Origin(self._path, name_node.start_mark.line + 1)
            if not isinstance(name_node, yaml.ScalarNode):
                self._refuse(key or "recipe", where, "has a key that is not a word")
                continue
            name = name_node.value
            inner = join(key, name)
            if name in mapping:
                first = self._document.origins[inner].line
                self._refuse(inner, where, f"is stated twice, first on line {first}", "keep one of the two")
                continue
            self._document.origins[inner] = where
            mapping[name] = self.build(value_node, inner, above)
        return mapping

    def _refuse(self, key: str, origin: Origin, rule: str, remedy: str = "") -> None:
        self._document.faults.append(_fault(key, origin, rule, remedy))


def merge(base: Document, top: Document) -> Document:
    """`top` over `base`: mappings merge at any depth, everything else is replaced."""
    origins = dict(base.origins)

    def over(old: Any, new: Any, key: str) -> Any:
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            return {
                **old,
                **{name: over(old.get(name), item, join(key, name)) for name, item in new.items()},
            }
        for name in [name for name in origins if name.startswith((f"{key}.", f"{key}["))]:
            del origins[name]
        return new

    tree = over(base.tree, top.tree, "")
    return Document(tree, origins | top.origins, [*base.faults, *top.faults])


def _fault(key: str, origin: Origin, rule: str, remedy: str = "") -> Fault:
    return Fault(key=key, rule=rule, remedy=remedy, source=str(origin))


def _syntax_fault(key: str, error: yaml.YAMLError) -> Fault:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return Fault(key=key, rule=f"is not valid YAML{where}: {problem}", remedy="check indentation, quotes and brackets")
