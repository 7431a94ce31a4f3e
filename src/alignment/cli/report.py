"""`alignment report` and `alignment compare`: pages about runs, from the files that these left."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alignment.cli.arguments import Config, Words, recipe_and_overrides
from alignment.errors import Fault, RecipeError, SetupError


def report(words: Words = None, config: Config = None) -> None:
    """Write report.html into the folder of a recipe's run."""
    source, overrides = recipe_and_overrides(words, config)
    from alignment.report.page import write_report

    print(f"Open {write_report(folder_of(source, overrides))} in a browser.")


def compare(
    runs: Annotated[list[str], typer.Argument(help="Two or more recipes, or output folders of their runs.")],
    output: Annotated[Path, typer.Option(help="The page that is written.")] = Path("outputs/comparison.html"),
) -> None:
    """Set runs side by side on one page: settings that differ, curves, metrics."""
    from alignment.report.page import write_comparison

    folders = [folder_of(run) for run in runs]
    if len(set(folders)) < 2:
        raise SetupError(Fault(key="runs", value=" ".join(runs), rule="must be two different ones or more"))
    output.parent.mkdir(parents=True, exist_ok=True)
    print(f"Open {write_comparison(folders, output)} in a browser.")


def folder_of(name: str, overrides: list[str] | None = None) -> Path:
    """The output folder that `name` is, or that the recipe of that name has."""
    from alignment.output.folder import MANIFEST
    from alignment.recipe import load_recipe
    from alignment.recipe.files import find_recipe

    if (Path(name) / MANIFEST).is_file():
        return Path(name)
    remedy = "name the output_dir of a run, or a recipe"
    if Path(name).is_dir() and not (Path(name) / "config.yaml").is_file():
        rule = f"holds no finished run ({MANIFEST} is missing)"
        raise SetupError(Fault(key="run", value=name, rule=rule, remedy=remedy))
    try:
        find_recipe(name)
    except RecipeError as error:
        rule = "is neither the folder of a run nor a recipe"
        raise SetupError(Fault(key="run", value=name, rule=rule, remedy=remedy)) from error
    return Path(load_recipe(name, overrides or []).training["output_dir"])
