"""What every command that takes a recipe reads in the same way: the recipe, and overrides of its keys."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

import typer

OVERRIDABLE = {"ignore_unknown_options": True}
"""Settings of a command whose unknown options are overrides: they arrive among its words, in their order."""

Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RECIPE [--KEY VALUE | KEY=VALUE]",
        help="Recipe name or path of a YAML file, then overrides of its keys, checked as strictly as the recipe.",
        show_default=False,
    ),
]
Config = Annotated[
    str | None,
    typer.Option("--config", metavar="RECIPE", help="The recipe, for launchers that pass options only."),
]

_ASSIGNMENT = re.compile(r"[A-Za-z_][\w.\[\]]*=")


def recipe_and_overrides(words: Sequence[str] | None, config: str | None) -> tuple[str, list[str]]:
    """The recipe, named first or by `--config`, and everything else as `--key value` overrides.

    Raises:
        typer.BadParameter: no recipe is named.
    """
    words = list(words or ())
    if config is None:
        if not words or is_override(words[0]):
            raise typer.BadParameter("name a recipe first, such as quickstart, or give it as --config RECIPE")
        config = words.pop(0)
    return config, as_overrides(words)


def as_overrides(words: Sequence[str]) -> list[str]:
    """`words` with every `key=value` where an option may begin written as `--key=value`."""
    overrides: list[str] = []
    for word in words:
        follows_key = bool(overrides) and overrides[-1].startswith("--") and "=" not in overrides[-1]
        overrides.append(f"--{word}" if not follows_key and _ASSIGNMENT.match(word) else word)
    return overrides


def is_override(word: str) -> bool:
    """Whether `word` begins an override rather than naming a recipe."""
    return word.startswith("--") or _ASSIGNMENT.match(word) is not None
