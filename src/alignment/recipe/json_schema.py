"""The keys of recipes as a JSON schema (draft 2020-12), for the completion and the checks of editors.

It is looser than `check`: relations between keys are not in it, and a key that belongs to another method passes.
What it refuses, `check` refuses too.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import reduce
from operator import or_
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import TypeAdapter

from alignment.methods import METHODS
from alignment.recipe.check import ROOT_KEYS
from alignment.recipe.loop_settings import LOOP, LoopArguments
from alignment.recipe.pairs_settings import PAIRS, PairsArguments
from alignment.recipe.renamed_keys import MOVED, NOT_HERE
from alignment.recipe.schema import DataArguments, ModelArguments
from alignment.recipe.settings import training_hints
from alignment.recipe.types import hints, required

_TOLD = {
    "extends": "Name or path of the recipe that this one changes.",
    "method": "What is trained.",
    "global_batch_size": "Rows of one optimizer step over all processes; micro-batches follow from it.",
    "sample_evaluation": "Answers drawn before and after training and judged by a rule.",
    "gradient_checkpointing": "Recompute activations in the backward pass; `auto` as far as the memory needs it.",
    "overwrite_output_dir": "Train anew over a finished run.",
    "save_every_minutes": "Save a checkpoint whenever so many minutes have passed.",
    "evaluation": "What `make evaluate` measures.",
    "acknowledge": "Names of warnings that are known and accepted.",
    "alarms": "What an alarm does: `warn`, `stop` or `off`, for all or by name.",
    "sample_every": "Steps between two samplings of answers to a few fixed prompts.",
}


def recipe_schema() -> dict[str, Any]:
    """The schema: every key that some method takes, each with its type, its words and what it is."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Recipe of alignment-handbook, SimPO edition",
        "type": "object",
        "if": _method_is(PAIRS),
        "then": _pairs(),
        "else": {"if": _method_is(LOOP), "then": _loop(), "else": _training()},
    }


def _method_is(name: str) -> dict[str, Any]:
    return {"properties": {"method": {"const": name}}, "required": ["method"]}


def _pairs() -> dict[str, Any]:
    return _object({"method": str, **hints(PairsArguments)}, descriptions(PairsArguments))


def _loop() -> dict[str, Any]:
    """A loop, whose stages are recipes themselves."""
    schema = _object({"method": str, **hints(LoopArguments)}, descriptions(LoopArguments))
    return schema | {"properties": schema["properties"] | {"pairs": _pairs(), "train": _training()}}


def _training() -> dict[str, Any]:
    """Every key of a recipe that trains, whatever its method."""
    told: dict[str, str] = {}
    kinds: dict[str, list[Any]] = {}
    for method in METHODS:
        refused = {*MOVED, *NOT_HERE} - {*METHODS[method].bounds}
        for key, kind in training_hints(method).items():
            if key not in refused and kind not in kinds.setdefault(key, []):
                kinds[key].append(kind)
        told = descriptions(METHODS[method].config_class()) | told
    for part in (ModelArguments, DataArguments):
        told |= descriptions(part)
    keys = {key: reduce(or_, each) for key, each in kinds.items()}
    schema = _object({**keys, **hints(ModelArguments), **hints(DataArguments), **ROOT_KEYS}, told)
    return schema | {"properties": schema["properties"] | {"method": {"enum": list(METHODS), **_told(_TOLD["method"])}}}


def _object(keys: Mapping[str, Any], told: Mapping[str, str]) -> dict[str, Any]:
    told = {**told, **_TOLD}
    # null in a recipe takes back what the one that it extends states.
    properties = {
        key: {**_type(kind | None), **_told(told.get(key))} for key, kind in sorted({"extends": str, **keys}.items())
    }
    return {"type": "object", "properties": properties, "additionalProperties": False}


def descriptions(cls: type) -> dict[str, str]:
    """What is said of each field of a dataclass: the string below it, or the `help` of its metadata."""
    told = {
        field.name: " ".join(str(field.metadata["help"]).split()) for field in fields(cls) if "help" in field.metadata
    }
    for ancestor in reversed(cls.__mro__):
        if is_dataclass(ancestor):
            told |= _docstrings(ancestor)
    return told


def _docstrings(cls: type) -> dict[str, str]:
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    except (OSError, TypeError):  # a class that was made at run time
        return {}
    assert isinstance(body, ast.ClassDef)
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in zip(body.body, body.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str)
    }


def _told(text: str | None) -> dict[str, str]:
    return {"description": text} if text else {}


def _type(declared: Any, *, listed: bool = False) -> dict[str, Any]:
    """The schema of one type; dataclasses are mappings with exactly their fields, also inside lists and unions.

    Only an entry of a list must have its needed keys: other mappings may have them from the recipe that is extended.
    """
    members = get_args(declared)
    if isinstance(declared, type) and is_dataclass(declared):
        told = descriptions(declared)
        properties = {key: {**_type(kind), **_told(told.get(key))} for key, kind in hints(declared).items()}
        needed = {"required": required(declared)} if listed and required(declared) else {}
        return {"type": "object", "properties": properties, "additionalProperties": False, **needed}
    if get_origin(declared) in (Union, UnionType) and any(_has_dataclass(member) for member in members):
        return {"anyOf": [_type(member, listed=listed) for member in members]}
    if get_origin(declared) in (list, tuple) and _has_dataclass(declared):
        return {"type": "array", "items": _type(members[0], listed=True)}
    if declared is Any:
        return {}
    return {key: value for key, value in TypeAdapter(declared).json_schema().items() if key != "title"}


def _has_dataclass(declared: Any) -> bool:
    return (isinstance(declared, type) and is_dataclass(declared)) or any(map(_has_dataclass, get_args(declared)))
