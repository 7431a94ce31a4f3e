"""A recipe of a loop: rounds whose stages are recipes of pairs and of training themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from alignment.errors import Fault, RecipeError
from alignment.files import shown_path
from alignment.methods import METHODS
from alignment.recipe.check import Checked, check_document
from alignment.recipe.fault_sources import fault_origin, with_sources
from alignment.recipe.files import find_recipe, read_recipe, recipe_name, recipe_word
from alignment.recipe.frozen import thaw
from alignment.recipe.loop_settings import LOOP, LoopArguments
from alignment.recipe.overrides import apply_overrides, parse_overrides
from alignment.recipe.pairs_recipe import PairsRecipe, checked_pairs
from alignment.recipe.schema import ModelArguments
from alignment.recipe.types import build, convert_mapping, plain
from alignment.recipe.yaml_document import Document, join, merge


@dataclass(frozen=True, kw_only=True)
class LoopRecipe:
    """Everything that a loop is told."""

    name: str
    """`quickstart-loop`, or the stem of a file outside `recipes/`."""
    path: Path
    """The YAML file that was asked for."""
    files: tuple[Path, ...]
    """That file and those it extends, in this order."""
    settings: LoopArguments
    pairs: PairsRecipe
    """The stage of pairs, checked, as the first round has it."""
    train: Checked
    """The stage of training, checked; its data are those that it names itself."""
    stated: Mapping[str, Mapping[str, Any]]
    """Of each stage what a recipe of a round states: `extends`, and what the loop changes, with absolute paths."""

    @property
    def folder(self) -> Path:
        """Where everything goes."""
        return Path(self.settings.output_dir or f"outputs/{self.name.replace('/', '-')}")

    @property
    def min_pairs(self) -> int:
        """Fewer pairs to train on stop the loop."""
        return self.settings.min_pairs or self.train.resolved.get("global_batch_size") or 1

    @property
    def model(self) -> ModelArguments:
        """The model that the first round begins from."""
        return self.train.model

    def describe(self) -> dict[str, Any]:
        """Name, method and every stated key with checked values, nested as in YAML."""
        own = {key: thaw(value) for key, value in vars(self.settings).items() if key not in ("pairs", "train")}
        settings = {**own, "pairs": thaw(self.pairs.resolved), "train": thaw(self.train.resolved)}
        return {"name": self.name, "method": LOOP, "settings": settings}


def load_loop_recipe(source: str | Path, overrides: Sequence[str] = ()) -> LoopRecipe:
    """The recipe `source` (a name, or a path to a .yaml file) with `overrides` from the command line.

    Raises:
        RecipeError: with every fault of the recipe, its stages and the overrides.
    """
    path = find_recipe(source)
    document, files = read_recipe(path)
    changes, faults = parse_overrides(overrides)
    document = apply_overrides(document, changes)
    document.faults.extend(faults)
    name = recipe_name(path)
    _require_method(document, path)
    stated = {key: item for key, item in document.tree.items() if key != "method" and item is not None}
    values, faults = convert_mapping("", LoopArguments, stated)
    faults = [*document.faults, *faults]
    wrong = {fault.key for fault in faults}
    if not wrong & {*values, "pairs", "train"}:
        faults += build(LoopArguments, values).faults()
    stages: dict[str, Any] = {}
    for key in ("pairs", "train"):
        if isinstance(document.tree.get(key), dict):
            try:
                stages[key] = _stage(document, key, path)
            except RecipeError as error:
                faults += (replace(fault, key=f"{key}.{fault.key}") for fault in error.faults)
    if not faults:
        settings = build(LoopArguments, values)
        faults += _relation_faults(settings, stages["pairs"][0], stages["train"][0], stages)
    if faults:
        raise RecipeError(list(with_sources(faults, document)), where=shown_path(path))
    (pairs, pairs_stated), (train, train_stated) = stages["pairs"], stages["train"]
    return LoopRecipe(
        name=name,
        path=path,
        files=files,
        settings=settings,
        pairs=pairs,
        train=train,
        stated={"pairs": pairs_stated, "train": train_stated},
    )


def _require_method(document: Document, path: Path) -> None:
    method = plain(document.tree.get("method"), as_text=True)
    if method == LOOP:
        return
    command = "pairs" if method == "pairs" else "train"
    remedy = f"make {command} RECIPE={recipe_word(path)}" if method is not None else f"state method: {LOOP}"
    fault = Fault(key="method", value=method, rule=f"must be {LOOP} for a recipe of rounds", remedy=remedy)
    raise RecipeError(list(with_sources([fault], document)), where=shown_path(path))


def _stage(document: Document, key: str, path: Path) -> tuple[Any, dict[str, Any]]:
    """The checked recipe of the stage `key`, and what a recipe of a round states of it."""
    changes = dict(document.tree[key])
    base = plain(changes.pop("extends", None), as_text=True)
    origins = {name.removeprefix(f"{key}."): at for name, at in document.origins.items() if name.startswith(f"{key}.")}
    whole = Document(changes, origins)
    files: tuple[Path, ...] = (path,)
    if base is not None:
        at = fault_origin(document, f"{key}.extends")
        found = find_recipe(str(base), beside=at.path.parent if at and at.path else None)
        below, files = read_recipe(found)
        whole, path = merge(below, whole), found
    checked: Any
    if key == "pairs":
        checked = checked_pairs(whole, path=path, files=files)
    else:
        checked = check_document(whole, path=path, name=recipe_name(path), method=None)
    resolved = {"method": key, **thaw(checked.resolved)}
    stated = {name: _placed(name, resolved.get(name), checked.places) for name in ("method", *changes)}
    return checked, {**({"extends": str(path)} if base is not None else {}), **stated}


def _placed(key: str, value: Any, places: Mapping[str, str]) -> Any:
    """`value` with absolute paths in place of those that it names."""
    if isinstance(value, dict):
        return {name: _placed(join(key, name), item, places) for name, item in value.items()}
    if isinstance(value, list):
        return [_placed(join(key, at), item, places) for at, item in enumerate(value)]
    return places.get(key, value)


def _relation_faults(
    settings: LoopArguments, pairs: PairsRecipe, train: Checked, stages: Mapping[str, Any]
) -> Iterator[Fault]:
    """What the stages must have in common, and what a loop decides itself."""
    for stage, (recipe, stated) in stages.items():
        for key in ("output_dir", "overwrite_output_dir"):
            if stated.get(key):
                rule = "is decided by the loop"
                yield Fault(key=f"{stage}.{key}", value=stated[key], rule=rule, remedy="remove it")
        if recipe.resolved.get("push_to_hub"):
            rule, remedy = "would publish every round", "write false; publish one with make push or make push-data"
            yield Fault(key=f"{stage}.push_to_hub", value=True, rule=rule, remedy=remedy)
    for key in ("model_name_or_path", "model_revision"):
        answers, starts = getattr(pairs.model, key), getattr(train.model, key)
        if answers != starts:
            rule = f"must be that of training, {starts}, since the rounds begin from one model"
            yield Fault(key=f"pairs.{key}", value=answers, rule=rule, remedy="state the same in pairs and train")
    method = METHODS[train.method]
    if method.data != "preference" or method.reward_model:
        rule = "trains no answers on preference pairs"
        yield Fault(key="train.method", value=train.method, rule=rule, remedy="such as simpo or dpo")
    evaluated = train.resolved.get("eval_strategy", "no") != "no" or train.resolved.get("do_eval")
    if evaluated and pairs.settings.test_size is None:
        rule = "evaluates on a split test, which pairs.test_size: null does not make"
        yield Fault(key="train.eval_strategy", value=train.resolved.get("eval_strategy"), rule=rule, remedy="state one")
    if settings.prompts == "distinct" and pairs.settings.prompts.max_rows is None and settings.rounds > 1:
        rule = "must be stated: how many prompts each round asks"
        yield Fault(key="pairs.prompts.max_rows", rule=rule, remedy="or state prompts: same")
    if not settings.evaluate and train.sample_evaluation is None:
        rule = "names no suite, and train states no sample_evaluation: nothing would be measured"
        yield Fault(key="evaluate", rule=rule, remedy="such as evaluate: [win_rate]")
