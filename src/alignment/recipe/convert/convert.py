"""From a foreign file to the YAML of a recipe that `load_recipe` takes, and notes on all that is different."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from alignment.errors import Fault, RecipeError
from alignment.files import shown_path
from alignment.recipe.convert import axolotl, handbook, llama_factory, trl
from alignment.recipe.convert.draft import Draft, Note, shown
from alignment.recipe.convert.kinds import kind_faults
from alignment.recipe.convert.preference import batch
from alignment.recipe.convert.source import Source, read_source
from alignment.recipe.recipe import load_recipe

ORIGINS: tuple[ModuleType, ...] = (llama_factory, axolotl, handbook, trl)
"""In the order in which they are preferred when a file has as many marks of each."""

_KNOWN = (
    "known are recipes of the alignment-handbook, the SimPO authors, TRL, axolotl and LLaMA-Factory; "
    "`alignment new` begins one of your own"
)
_KEPT = ("method", "model_name_or_path", "dataset_name", "dataset_mixture", "loss_type", "beta", "learning_rate")
"""Keys that are not left out when something is wrong with them, since another recipe would be what remains."""
_LINES = {
    "dataset_name": "dataset_name: <a Hub id, or a JSON, JSONL or Parquet file or folder>",
    "model_name_or_path": "model_name_or_path: <a Hub id or a folder>",
    "dataset_mixture.test_split_size": "  test_split_size: 0.02   # under dataset_mixture",
}
_ORDER = (
    *("method", "model_", "tokenizer_", "dtype", "attn_", "use_peft", "lora_", "load_in", "bnb_", "use_bnb"),
    *("dataset_", "chat_template", "max_length", "max_prompt", "beta", "gamma_", "sft_weight", "loss_"),
    *("global_batch", "per_device", "gradient_acc", "num_train", "learning_rate", "lr_", "warmup", "optim"),
)
"""How the keys of a recipe begin, in the order in which they are written."""


@dataclass(frozen=True, kw_only=True)
class Converted:
    """A recipe of ours, and what is to be known of it."""

    origin: str
    text: str
    """YAML, with what is missing as comments."""
    notes: tuple[Note, ...]
    complete: bool
    """`load_recipe` takes it as it stands."""


def convert_file(path: Path, *, gpus: int | None = None) -> Converted:
    """The foreign recipe at `path` as one of ours. `gpus` is the number it was run on, which its batch depends on.

    Raises:
        RecipeError: the file cannot be read, is of no origin that is known, or trains what is not offered here.
    """
    source = read_source(path)
    origin = origin_of(source)
    if wrong := list(kind_faults(source.settings)):
        raise RecipeError(wrong, where=shown_path(path))
    draft = origin.convert(source)
    batch(draft, source, gpus)
    faults = _settled(draft)
    for fault in faults:
        line = _LINES.get(fault.key)
        draft.note("missing", fault.key, f": {f'add the line `{line}`' if line else f'{fault.rule}; {fault.remedy}'}")
    text = _text(draft, origin.TITLE, path, faults)
    return Converted(origin=origin.TITLE, text=text, notes=tuple(draft.notes), complete=not faults)


def origin_of(source: Source) -> ModuleType:
    """The origin with most of its marks among the keys. Raises `RecipeError` when there is none."""
    keys = source.settings.keys()
    if {"extends", "method"} & keys:
        rule, remedy = "is a recipe of this project already", f"make check RECIPE={shown_path(source.path)}"
        raise RecipeError(Fault(key=shown_path(source.path), rule=rule, remedy=remedy))
    found = {origin: len(keys & set(origin.MARKS)) for origin in ORIGINS if keys >= set(origin.NEEDED)}
    best = max(ORIGINS, key=lambda origin: found.get(origin, 0))
    if not found.get(best):
        rule = "is a recipe of no project that is known" + (f": its keys are {shown(', '.join(keys))}" if keys else "")
        raise RecipeError(Fault(key=shown_path(source.path), rule=rule, remedy=_KNOWN))
    return best


def _settled(draft: Draft) -> tuple[Fault, ...]:
    """What `load_recipe` still says of the draft, once every carried key that it refuses is left out, and told."""
    while True:
        faults = _faults(draft.settings)
        refused = {_top(fault.key): fault for fault in faults if _top(fault.key) in draft.settings}
        refused = {key: fault for key, fault in refused.items() if key not in _KEPT}
        if not refused:
            return faults
        for key, fault in refused.items():
            draft.lose(key, draft.settings.pop(key), f"{fault.rule}; {fault.remedy}" if fault.remedy else fault.rule)


def _faults(settings: Mapping[str, Any]) -> tuple[Fault, ...]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "converted.yaml")
        path.write_text(_yaml(settings), encoding="utf-8")
        try:
            load_recipe(path)
        except RecipeError as error:
            return error.faults
    return ()


def _top(key: str) -> str:
    return key.partition(".")[0].partition("[")[0]


def _text(draft: Draft, origin: str, path: Path, faults: tuple[Fault, ...]) -> str:
    missing = "".join(f"# missing: {_LINES.get(fault.key, f'{fault.key} {fault.rule}').strip()}\n" for fault in faults)
    return f"# Converted from {path.name}, a recipe of {origin}.\n\n{_yaml(draft.settings)}{missing}"


def _yaml(settings: Mapping[str, Any]) -> str:
    def place(key: str) -> int:
        return next((at for at, start in enumerate(_ORDER) if key.startswith(start)), len(_ORDER))

    ordered = dict(sorted(settings.items(), key=lambda item: place(item[0])))
    return yaml.dump(ordered, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1_000_000)


class _Dumper(yaml.SafeDumper):
    """Text of several lines in double quotes, as templates are usually written."""


def _quoted(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if "\n" in text else None)


_Dumper.add_representer(str, _quoted)
