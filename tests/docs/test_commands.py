"""Every command line that the documentation shows names a target, a command, a recipe and keys that there are."""

from __future__ import annotations

import re
import shlex
from functools import cache

import click
import pytest
import typer
from commands import PAGES, ROOT, Command, commands_of, inline_of

from alignment.cli.app import app
from alignment.cli.arguments import as_overrides, is_override
from alignment.errors import RecipeError
from alignment.recipe.files import available_recipes
from alignment.recipe.kinds import load_any_recipe

MISTAKES = {("make", "check", "RECIPE=gemma2-simpo", "ARGS=--beta -1")}
"""Commands that are shown to be refused."""
SHOWN = [command for page in PAGES for command in commands_of(page) if command.words not in MISTAKES]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.M))
VARIABLES = set(re.findall(r"[(, ]([A-Z_]+)\)", MAKEFILE))
COMMANDS = typer.main.get_command(app).commands


@cache
def begun(page: str) -> dict[str, str]:
    """Recipes that a page makes by `alignment new`, and what each begins from."""
    made = {}
    for command in SHOWN:
        if str(command.page) == page and command.words[:2] == ("alignment", "new"):
            words = list(command.words[2:])
            base = words[words.index("--from") + 1] if "--from" in words else "gemma2-simpo"
            made[words[0]] = made.get(base, base)
    return made


def check_recipe(command: Command, words: list[str]) -> None:
    """The recipe exists, or is made on the page, and takes the overrides; a path is the reader's own file."""
    names = [words.pop(0)] if words and not is_override(words[0]) else ["quickstart"]
    while words and not is_override(words[0]):
        names.append(words.pop(0))
    for name in names:
        name = begun(str(command.page)).get(name, name)
        if name.endswith((".yaml", ".yml")) and not (ROOT / name).exists():
            continue
        assert name in available_recipes() or (ROOT / name).exists(), f"no recipe {name}"
        check_keys(name, as_overrides(words))


def check_keys(name: str, overrides: list[str]) -> None:
    """Overrides are valid; a file or folder that they name is the reader's own and need not be here."""
    try:
        load_any_recipe(name, overrides)
    except RecipeError as error:
        assert all(fault.rule.startswith("does not exist") for fault in error.faults), str(error)


def check_alignment(command: Command, name: str, words: list[str]) -> None:
    """The command exists and takes the options; its recipe is checked where it takes one."""
    assert name in COMMANDS, f"no command {name}"
    context = COMMANDS[name].make_context(name, list(words))
    if context.ignore_unknown_options and name != "new":
        named = [context.params["config"]] if context.params["config"] else []
        check_recipe(command, [*named, *(context.params["words"] or ())])


def check_make(command: Command) -> None:
    """The target exists, the variables are the Makefile's, and what it calls takes the arguments."""
    target, *rest = (word for word in command.words[1:] if not word.startswith("-"))
    assert target in TARGETS, f"no target {target}"
    stated = dict(word.split("=", 1) for word in rest)
    assert stated.keys() <= VARIABLES, f"the Makefile reads no {stated.keys() - VARIABLES}"
    recipe = stated.get("RECIPE", "quickstart")
    words = [recipe, *shlex.split(stated.get("ARGS", ""))]
    if target in COMMANDS and ("RECIPE" in stated or "ARGS" in stated):
        required = ["--prompt", "?"] if target == "generate" else []
        check_alignment(command, target, [*words, *required])


def check_files(command: Command) -> None:
    """Scripts and configurations that a command names are there."""
    named = [word for word in command.words if word.startswith(("scripts/", "configs/", "benchmarks/", "docs/"))]
    assert all((ROOT / word).exists() for word in named), f"{named}"
    script = next((at for at, word in enumerate(command.words) if word.startswith("scripts/")), None)
    if script is not None:
        ran = re.search(r'main\("([a-z-]+)"', (ROOT / command.words[script]).read_text())
        check_alignment(command, ran[1] if ran else "train", list(command.words[script + 1 :]))


@pytest.mark.parametrize("command", SHOWN, ids=str)
def test_a_command_of_the_documentation_can_be_given(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    try:
        if command.words[0] == "make":
            check_make(command)
        elif command.words[0] == "alignment":
            check_alignment(command, command.words[1], list(command.words[2:]))
        else:
            check_files(command)
    except click.UsageError as error:
        pytest.fail(error.format_message())


def test_targets_and_commands_named_in_the_text_exist() -> None:
    for command in (command for page in PAGES for command in inline_of(page)):
        known = TARGETS if command.words[0] == "make" else {*COMMANDS, "<command>", "--help"}
        assert command.words[1] in known, str(command)
