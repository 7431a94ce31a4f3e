"""Finding recipes by name or path, and following `extends`."""

from __future__ import annotations

import difflib
import os
from os.path import expanduser
from pathlib import Path

from alignment.errors import Fault, RecipeError
from alignment.files import shipped, shown_path
from alignment.recipe.yaml_document import Document, Plain, merge, read_document

_SUFFIXES = (".yaml", ".yml")
_MAIN = "config"
_LONGEST_NAME = 255
_LONGEST_PATH = 3500
"""Bytes, on the file systems in use; a path has 4,096, of which a run needs some below its folder."""


def recipe_roots() -> list[Path]:
    """Folders whose recipes go by name: `recipes/` where the command runs, and those that are shipped."""
    roots = (Path.cwd() / "recipes", shipped("recipes"))
    return [root for root in dict.fromkeys(roots) if root.is_dir()]


def available_recipes() -> list[str]:
    """Every name that `find_recipe` takes, in order."""
    names = {recipe_name(path) for root in recipe_roots() for path in root.glob("*/*.yaml")}
    return sorted(names)


def find_recipe(source: str | Path, *, beside: Path | None = None) -> Path:
    """The file of a recipe: `<name>` is recipes/<name>/config.yaml, `<name>/<variant>` recipes/<name>/<variant>.yaml,
    and anything ending in .yaml a path.

    `beside` is the folder that relative paths start from (a recipe's `extends`), else the working directory.

    Raises:
        RecipeError: nothing is there; lists what is.
    """
    text = str(source)
    if not could_be_path(text):
        raise RecipeError(_missing(text, "is not a recipe"))
    path = Path(expanduser(text))
    path = (beside or Path()) / path
    if text.endswith(_SUFFIXES):
        if path.is_file():
            return path.resolve()
        raise RecipeError(_missing(text, f"is not a file ({path.absolute()})"))
    if text and (path / f"{_MAIN}.yaml").is_file():
        return (path / f"{_MAIN}.yaml").resolve()
    for root in recipe_roots():
        for candidate in (root / text / f"{_MAIN}.yaml", root / f"{text}.yaml"):
            if text and candidate.is_file():
                return candidate.resolve()
    raise RecipeError(_missing(text, "is not a recipe"))


def could_be_path(text: str) -> bool:
    """Whether the file system takes `text`, so that asking it whether something is there is no error."""
    try:
        path = os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return b"\0" not in path and len(path) < _LONGEST_PATH and max(map(len, path.split(b"/"))) <= _LONGEST_NAME


def recipe_name(path: Path) -> str:
    """The name of the recipe file at `path`: what finds it again, or the file's stem outside `recipes/`."""
    for root in recipe_roots():
        if path.is_relative_to(root.resolve()):
            name = path.relative_to(root.resolve()).with_suffix("").as_posix()
            return name.removesuffix(f"/{_MAIN}")
    return path.parent.name if path.stem == _MAIN else path.stem


def stated_method(source: str | Path) -> str | None:
    """The `method` that the recipe `source` states, or one that it extends; `None` where that is no word.

    Raises:
        RecipeError: there is no such recipe, or it is no YAML.
    """
    stated = read_recipe(find_recipe(source))[0].tree.get("method")
    return stated if isinstance(stated, str) else None


def recipe_word(path: Path) -> str:
    """What a command finds the recipe file at `path` by: its name, or its path outside `recipes/`."""
    named = any(path.is_relative_to(root.resolve()) for root in recipe_roots())
    return recipe_name(path) if named else shown_path(path)


def read_recipe(path: Path) -> tuple[Document, tuple[Path, ...]]:
    """The file at `path` over the recipes it extends, and all files read, the outermost first.

    Raises:
        RecipeError: a file is missing or no YAML, or the chain comes back to itself.
    """
    chain: list[Path] = []
    document = Document({})
    following: Path | None = path
    while following is not None:
        if following in chain:
            circle = " -> ".join(file.name for file in [*chain[chain.index(following) :], following])
            raise RecipeError(
                Fault(key="extends", rule=f"must not lead back to itself: {circle}", remedy="break the circle")
            )
        chain.append(following)
        layer = read_document(following)
        base = layer.tree.pop("extends", None)
        base = base.text if isinstance(base, Plain) else base
        document = merge(layer, document)
        if base is not None and not (isinstance(base, str) and base):
            fault = Fault(
                key="extends",
                value=base,
                rule="must be the name or path of one recipe",
                remedy="such as `extends: gemma2-simpo` or `extends: config.yaml`",
                source=str(layer.origins["extends"]),
            )
            raise RecipeError(fault)
        following = _extended(base, layer, following) if base else None
    return document, tuple(chain)


def _extended(base: str, layer: Document, path: Path) -> Path:
    try:
        return find_recipe(base, beside=path.parent)
    except RecipeError as error:
        source = str(layer.origins["extends"])
        faults = [
            Fault(key="extends", value=base, rule=fault.rule, remedy=fault.remedy, source=source)
            for fault in error.faults
        ]
        raise RecipeError(faults) from error


def _missing(text: str, rule: str) -> Fault:
    names = available_recipes()
    near = difflib.get_close_matches(text.removeprefix("recipes/"), names, n=1, cutoff=0.5)
    listed = (
        f"available: {', '.join(names)}" if names else "a recipe is a name under recipes/ or a path to a .yaml file"
    )
    remedy = f"did you mean {near[0]}? {listed}" if near else listed
    return Fault(key="recipe", value=text, rule=rule, remedy=remedy)
