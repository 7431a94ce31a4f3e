"""`alignment new`: a recipe of one's own, begun from another."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from alignment.cli.arguments import as_overrides
from alignment.errors import Fault, RecipeError

OFTEN_CHANGED = (
    "model_name_or_path",
    "dataset_name",
    "learning_rate",
    "beta",
    "gamma_beta_ratio",
    "num_train_epochs",
    "global_batch_size",
    "max_length",
)
"""Keys that a new recipe shows as comments, with the values of the one it begins from."""

SCHEMA = "schema.json"
"""What `alignment schema` prints, in the folder of the recipes."""

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?")


def new(
    name: Annotated[str, typer.Argument(help="Name of the new recipe: recipes/NAME/config.yaml is written.")],
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[--KEY VALUE | KEY=VALUE]...", help="Keys that it states.", show_default=False),
    ] = None,
    base: Annotated[str, typer.Option("--from", help="The recipe that it begins from.")] = "gemma2-simpo",
) -> None:
    """Begin a recipe of your own from another."""
    from alignment.files import write_text
    from alignment.recipe import load_recipe
    from alignment.recipe.frozen import thaw
    from alignment.recipe.overrides import parse_overrides

    path = target_of(name)
    overrides = as_overrides(words or ())
    recipe = load_recipe(base, overrides)  # a wrong key or value is told before anything is written
    begun = str(recipe.path) if base.endswith((".yaml", ".yml")) else base
    stated = [str(change.parts[0]) for change in parse_overrides(overrides)[0]]
    path.parent.mkdir(parents=True, exist_ok=True)
    text = text_of(name, begun, stated, thaw(recipe.resolved))
    has_schema = (path.parent.parent / SCHEMA).is_file()
    write_text(path, f"# yaml-language-server: $schema=../{SCHEMA}\n{text}" if has_schema else text)
    print(f"{path} begins from {begun}.\nCheck it: make check RECIPE={name}\nTrain it: make train RECIPE={name}")


def target_of(name: str) -> Path:
    """Where the recipe `name` goes. Raises `RecipeError` for a name that cannot be one, or that is taken."""
    if not _NAME.fullmatch(name):
        rule = "cannot be the name of a recipe"
        raise RecipeError(Fault(key="name", value=name, rule=rule, remedy="such as my-run or my-run/lora"))
    folder, _, variant = name.partition("/")
    path = Path("recipes", folder, f"{variant or 'config'}.yaml")
    if path.exists():
        rule = f"exists ({path})"
        raise RecipeError(Fault(key="name", value=name, rule=rule, remedy="choose another name, or edit that file"))
    return path


def text_of(name: str, base: str, changed: Sequence[str], settings: Mapping[str, Any]) -> str:
    """The YAML of a new recipe: what it extends, what it states, and what people change most, as comments."""
    import yaml

    stated = {"output_dir": f"outputs/{name.replace('/', '-')}"} | {key: settings[key] for key in changed}
    shown = {key: settings[key] for key in OFTEN_CHANGED if settings.get(key) is not None and key not in stated}
    comments = "".join(f"# {line}\n" for line in yaml.safe_dump(shown, sort_keys=False).splitlines())
    return (
        f"# {name}: begun from {base}. Every key that it does not state has the value that it has there.\n\n"
        f"extends: {base}\n\n{yaml.safe_dump(stated, sort_keys=False)}\n"
        f"# What {base} states, to change:\n{comments}"
    )
