"""`alignment recipes`: which recipes there are, and which fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from alignment.errors import Fault, RecipeError


def recipes(
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[WORD]...", help="Show recipes that have all of these in name, method, model or data."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON list instead of a table.")] = False,
) -> None:
    """List the recipes that go by name."""
    from alignment.recipe.files import available_recipes

    rows = [row for row in map(glance, available_recipes()) if _fits(row, words or ())]
    if as_json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    if not rows:
        raise RecipeError(Fault(key="recipes", value=" ".join(words or ()), rule="fit none", remedy="try fewer words"))
    _print(rows)


def glance(name: str) -> dict[str, Any]:
    """What the file of a recipe states of itself, without checking it: `name`, `about`, `method`, `model`, `data`."""
    from alignment.recipe.files import find_recipe, read_recipe
    from alignment.recipe.types import plain

    path = find_recipe(name)
    stated = {key: plain(node) for key, node in read_recipe(path)[0].tree.items()}
    mixture = stated.get("dataset_mixture") or {}
    sources = [source["id"] for source in mixture.get("datasets", ())] or [stated.get("dataset_name")]
    return {
        "name": name,
        "about": about(path),
        "method": stated.get("method"),
        "model": stated.get("model_name_or_path"),
        "data": [source for source in sources if source],
    }


def about(path: Path) -> str:
    """The first sentence of the comment that a recipe begins with, without the line for editors."""
    lines = [line.removeprefix("#").strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return next((line for line in lines if line and not line.startswith("yaml-language-server")), "")


def _fits(row: dict[str, Any], words: list[str] | tuple[str, ...]) -> bool:
    text = " ".join([row["name"], row["about"], str(row["method"]), str(row["model"]), *row["data"]]).lower()
    return all(word.lower() in text for word in words)


def _print(rows: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in ("recipe", "method", "model", "data"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(
            *(Text(str(cell)) for cell in (row["name"], row["method"], row["model"] or "-", ", ".join(row["data"])))
        )
    Console().print(table)
