"""One value against one type: pydantic decides, we say it in the user's words."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from alignment.errors import Fault, did_you_mean
from alignment.recipe.yaml_document import Plain, join

_FINITE = ConfigDict(allow_inf_nan=False, arbitrary_types_allowed=True)
_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    dict: "a mapping",
    type(None): "null",
}


def convert(key: str, declared: Any, node: Any) -> tuple[Any, list[Fault]]:
    """The plain value (dicts, lists, numbers, text) of `node` as `declared` wants it, and every fault below `key`.

    A dataclass type is a mapping with exactly its fields; one value is accepted where a list of such is declared.
    """
    members = tuple(_without_text_forms(_members(declared)))
    nested = next(filter(_is_mapping, members), None)
    other = (node is None and type(None) in members) or (isinstance(node, Plain | str) and str in members)
    if nested is not None and not other:
        return convert_mapping(key, nested, node)
    lists = (get_args(member)[0] for member in members if _is_list(member) and get_args(member))
    entry = next((inner for inner in lists if any(map(_is_mapping, _members(inner)))), None)
    if entry is not None and isinstance(node, list):
        converted = [convert(join(key, at), entry, item) for at, item in enumerate(node)]
        return [value for value, _ in converted], [fault for _, faults in converted for fault in faults]
    for candidate in _readings(node, members):
        try:
            return _plain(_adapter(members).validate_python(candidate)), []
        except ValidationError:
            continue
    return None, [_mismatch(key, members, node)]


def convert_mapping(key: str, declared: type, node: Any) -> tuple[dict[str, Any], list[Fault]]:
    """`convert` for a dataclass type: unknown, missing and wrong entries, all of them."""
    if not isinstance(node, dict):
        return {}, [_mismatch(key, (dict,), node)]
    known = hints(declared)
    values: dict[str, Any] = {}
    faults: list[Fault] = []
    for name, item in node.items():
        if name not in known:
            listed = f"known keys: {', '.join(known)}"
            remedy = did_you_mean(name, known)
            faults.append(
                Fault(
                    key=join(key, name),
                    rule="is not a key that can stand here",
                    remedy=f"{remedy} {listed}" if remedy else listed,
                )
            )
            continue
        values[name], inner = convert(join(key, name), known[name], item)
        faults.extend(inner)
    for name in required(declared):
        if name not in node:
            faults.append(Fault(key=join(key, name), rule="must be stated"))
    return values, faults


def hints(cls: Any) -> dict[str, Any]:
    """Names of the fields of a dataclass, and their resolved types."""
    resolved = get_type_hints(cls)
    return {field.name: resolved[field.name] for field in fields(cls) if field.init}


def build(cls: Any, values: Mapping[str, Any]) -> Any:
    """The dataclass that converted `values` describe, those within it included; lists become tuples."""
    declared = hints(cls)
    return cls(**{name: _built(declared[name], value) for name, value in values.items()})


def _built(declared: Any, value: Any) -> Any:
    nested = next((m for m in _members(declared) if isinstance(m, type) and is_dataclass(m)), None)
    if nested is not None and isinstance(value, Mapping):
        return build(nested, value)
    return tuple(value) if isinstance(value, list) else value


def required(cls: Any) -> list[str]:
    """Fields of a dataclass without a default."""
    return [field.name for field in fields(cls) if field.default is MISSING and field.default_factory is MISSING]


def plain(node: Any, *, as_text: bool = False) -> Any:
    """The tree `node` with every `Plain` scalar as its value, or as its text."""
    if isinstance(node, Plain):
        return node.text if as_text else node.value
    if isinstance(node, dict):
        return {name: plain(item, as_text=as_text) for name, item in node.items()}
    if isinstance(node, list):
        return [plain(item, as_text=as_text) for item in node]
    return node


def choices(declared: Any) -> list[str] | None:
    """The words that a type allows, when it allows only certain words."""
    words: list[str] = []
    for member in _without_text_forms(_members(declared)):
        if get_origin(member) is Literal:
            words.extend(str(word) for word in get_args(member))
        elif isinstance(member, type) and issubclass(member, Enum):
            words.extend(str(item.value) for item in member)
    return words or None


def _readings(node: Any, members: tuple[Any, ...]) -> list[Any]:
    """What `node` may be read as, the likeliest first."""
    read = [plain(node)]
    if isinstance(node, Plain):
        # pydantic would take true for 1 and 1 for true; only a type that names bool may have one.
        switches = any(member is bool or _switch_word(member) for member in members)
        if isinstance(node.value, bool) and not (switches or Any in members):
            read = []
        if isinstance(node.value, int | float) and not isinstance(node.value, bool) and switches:
            read = [] if node.text not in ("0", "1") else read
    text = plain(node, as_text=True)
    if text not in read:
        read.append(text)
    if isinstance(node, Plain | str) and any(_is_list(member) for member in members):
        read.extend([reading] for reading in list(read))
    return read


def _switch_word(member: Any) -> bool:
    """Whether `member` is a list of words with true or false among them."""
    return get_origin(member) is Literal and any(isinstance(word, bool) for word in get_args(member))


def _mismatch(key: str, members: tuple[Any, ...], node: Any) -> Fault:
    allowed = choices(members[0] if len(members) == 1 else Union[members])  # noqa: UP007 (built at run time)
    shown = "null" if node is None else plain(node, as_text=isinstance(node, Plain))
    remedy = did_you_mean(str(shown), allowed) if allowed else _example(members, node)
    return Fault(key=key, value=shown, rule=f"must be {_describe(members)}", remedy=remedy)


def _example(members: tuple[Any, ...], node: Any) -> str:
    if node is None:
        return "give a value, or remove the line for the default"
    if isinstance(node, list) and str in members:
        return "put quotes around text that has spaces"
    if bool in members:
        return "write true or false"
    if float in members:
        return "such as 0.1 or 5e-7"
    if int in members:
        return "such as 8"
    if isinstance(node, Plain) and str in members:
        return "put it in quotes"
    return ""


def _describe(members: tuple[Any, ...]) -> str:
    said: list[str] = []
    words = choices(Union[members] if len(members) > 1 else members[0])  # noqa: UP007
    if words:
        said.append(f"one of {', '.join(words)}")
    for member in members:
        if member is Any:
            said.append("any value")
        elif _is_list(member):
            inner = get_args(member)[0] if get_args(member) else Any
            said.append("a list" + {str: " of words", int: " of whole numbers", float: " of numbers"}.get(inner, ""))
        else:
            said.append(_WORDS.get(get_origin(member) or member, ""))
    return " or ".join(dict.fromkeys(word for word in said if word))


def _members(declared: Any) -> tuple[Any, ...]:
    return get_args(declared) if get_origin(declared) in (Union, types.UnionType) else (declared,)


def _without_text_forms(members: tuple[Any, ...]) -> list[Any]:
    """Without the `str` that transformers adds to enums and mappings for its own command-line parser."""
    typed = any(
        (isinstance(member, type) and issubclass(member, Enum)) or (get_origin(member) or member) is dict
        for member in members
    )
    return [member for member in members if not (typed and member is str)]


def _is_mapping(member: Any) -> bool:
    """Whether `member` is a dataclass, which a recipe writes as a mapping."""
    return isinstance(member, type) and is_dataclass(member)


def _is_list(member: Any) -> bool:
    return (get_origin(member) or member) in (list, tuple)


@cache
def _adapter(members: tuple[Any, ...]) -> TypeAdapter[Any]:
    # A whole number stays one where a float is declared: the manifest says `eval_steps: 400`, as the recipe does.
    members = (*members, int) if float in members else members
    declared: Any = Union[members] if len(members) > 1 else members[0]  # noqa: UP007
    return TypeAdapter(declared, config=_FINITE)


def _plain(value: Any) -> Any:
    """Enums as the words they stand for, tuples as lists."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value
