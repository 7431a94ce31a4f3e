"""A recipe of preference pairs: read and checked as a training recipe is, with keys of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any

from alignment.errors import Fault, RecipeError
from alignment.files import shown_path
from alignment.recipe.bounds import bound_faults
from alignment.recipe.cleaning import decontamination
from alignment.recipe.fault_sources import fault_origin, with_sources
from alignment.recipe.files import find_recipe, read_recipe, recipe_name, recipe_word
from alignment.recipe.frozen import FrozenDict, freeze, thaw
from alignment.recipe.overrides import apply_overrides, parse_overrides
from alignment.recipe.pairs_settings import PAIRS, PairsArguments, size_faults
from alignment.recipe.paths import Places
from alignment.recipe.schema import ModelArguments
from alignment.recipe.settings import Settings
from alignment.recipe.types import convert_mapping, hints, plain
from alignment.recipe.yaml_document import Document


@dataclass(frozen=True, kw_only=True)
class PairsRecipe:
    """Everything that making a data set of preference pairs is told."""

    name: str
    """`gemma2-pairs`, `quickstart/pairs`, or the stem of a file outside `recipes/`."""
    path: Path
    """The YAML file that was asked for."""
    files: tuple[Path, ...]
    """That file and those it extends, in this order."""
    settings: PairsArguments
    """Checked, with paths that lead to what they name."""
    resolved: FrozenDict
    """Every key that is stated after `extends` and overrides, nested as in YAML, with checked values."""
    places: Mapping[str, str]
    """Absolute paths by the dotted keys that name them."""

    @property
    def folder(self) -> Path:
        """Where the data set goes."""
        return Path(self.settings.output_dir or f"outputs/{self.name.replace('/', '-')}")

    @property
    def model(self) -> ModelArguments:
        """The model that answers."""
        shared = hints(PairsArguments).keys() & hints(ModelArguments).keys()
        return ModelArguments(**{key: getattr(self.settings, key) for key in shared})

    def describe(self) -> dict[str, Any]:
        """Name, method and every stated key with checked values, nested as in YAML."""
        return {"name": self.name, "method": PAIRS, "settings": thaw(self.resolved)}


def load_pairs_recipe(source: str | Path, overrides: Sequence[str] = ()) -> PairsRecipe:
    """The recipe `source` (a name, or a path to a .yaml file) with `overrides` from the command line.

    Raises:
        RecipeError: with every fault of the recipe and the overrides.
    """
    path = find_recipe(source)
    document, files = read_recipe(path)
    changes, faults = parse_overrides(overrides)
    document = apply_overrides(document, changes)
    document.faults.extend(faults)
    return checked_pairs(document, path=path, files=files)


def checked_pairs(document: Document, *, path: Path, files: tuple[Path, ...]) -> PairsRecipe:
    """The recipe that was read from `path` and the files that it extends.

    Raises:
        RecipeError: with every fault.
    """
    name = recipe_name(path)
    _require_method(document, path)
    stated = {key: item for key, item in document.tree.items() if key != "method"}
    values, faults = convert_mapping("", PairsArguments, stated)
    wrong = {fault.key.partition(".")[0].partition("[")[0] for fault in faults}
    faults = [*document.faults, *faults, *bound_faults(None, values), *_range_faults(values, wrong)]
    places = Places(path, lambda key: fault_origin(document, key))
    faults += places.faults(Settings(None, values, wrong))
    if faults:
        raise RecipeError(list(with_sources(faults, document)), where=shown_path(path))
    settings = _built(PairsArguments, values, places.found)
    return PairsRecipe(
        name=name, path=path, files=files, settings=settings, resolved=freeze(values), places=places.found
    )


def _require_method(document: Document, path: Path) -> None:
    method = plain(document.tree.get("method"), as_text=True)
    if method == PAIRS:
        return
    remedy = f"make train RECIPE={recipe_word(path)}" if method is not None else f"state method: {PAIRS}"
    fault = Fault(key="method", value=method, rule=f"must be {PAIRS} for a recipe that makes pairs", remedy=remedy)
    raise RecipeError(list(with_sources([fault], document)), where=shown_path(path))


def _range_faults(values: Mapping[str, Any], wrong: set[str]) -> Iterator[Fault]:
    """What breaks a rule in the sections that could be read, and beside them."""
    for name, kind in hints(PairsArguments).items():
        if hasattr(kind, "faults") and name in values and name not in wrong:
            yield from _built(kind, values[name], {}).faults(name)
    if "test_size" in values and "test_size" not in wrong:
        yield from size_faults(values["test_size"])


def _built(declared: Any, values: Mapping[str, Any], found: Mapping[str, str], key: str = "") -> Any:
    """The dataclass `declared` of `values`, with the places that were found for dotted keys."""
    kinds = hints(declared)
    given: dict[str, Any] = {}
    for name, value in values.items():
        dotted = f"{key}{name}"
        if isinstance(kinds[name], type) and is_dataclass(kinds[name]):
            given[name] = _built(kinds[name], value, found, f"{dotted}.")
        elif name == "decontaminate" and value is not None:
            given[name] = decontamination(value, {place.removeprefix(key): path for place, path in found.items()})
        else:
            given[name] = found.get(dotted, freeze(value))
    return declared(**given)
