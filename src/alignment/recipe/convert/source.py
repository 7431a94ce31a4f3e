"""A foreign recipe as it was found: its settings, from YAML or from a command line, and the words around them."""

from __future__ import annotations

import itertools
import re
import shlex
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignment.errors import Fault, RecipeError, sentence_of
from alignment.files import shown_path
from alignment.recipe.types import plain
from alignment.recipe.yaml_document import parse_value, read_document

_YAML = (".yaml", ".yml")
_ASSIGNMENT = re.compile(r"^\s*(?:export\s+)?([A-Za-z_]\w*)=(\"[^\"]*\"|'[^']*'|[^\s;&|]*)\s*$", re.MULTILINE)
_OPERATORS = re.compile(r"&&|\|\|?|;|&|\d?>.*|<.*")
"""Words of a shell that end a command."""
_PROCESSES = re.compile(r"--(?:num_processes|nproc_per_node)[= ](\d+)")
_PROGRAMS = re.compile(r"(^|/)(trl|llamafactory-cli|axolotl|[\w-]+\.py)$|^axolotl\.cli\.train$")


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a file states, before anything is known of its origin."""

    path: Path
    settings: dict[str, Any]
    """Keys and plain values."""
    words: tuple[str, ...]
    """Names around the settings, which may tell the method, the nearest first: script, file, folders."""
    comments: str = ""
    processes: int | None = None
    """GPUs, where the launcher on the command line says how many."""


def read_source(path: Path) -> Source:
    """The YAML at `path`, or the first command with `--key value` options in any other text.

    Raises:
        RecipeError: the file cannot be read, or holds neither.
    """
    if path.suffix in _YAML:
        return _from_yaml(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        rule = f"cannot be read: {error.strerror if isinstance(error, OSError) else 'it is not UTF-8 text'}"
        raise RecipeError(Fault(key=shown_path(path), rule=rule)) from error
    return _from_command(path, text)


def _from_yaml(path: Path) -> Source:
    document = read_document(path)
    if document.faults:
        raise RecipeError(document.faults)
    comments = " ".join(re.findall(r"^\s*#(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE))
    words = (path.stem, *reversed(path.absolute().parts[-4:-1]))
    return Source(path=path, settings=plain(document.tree), words=words, comments=comments)


def _from_command(path: Path, text: str) -> Source:
    command = next((words for words in _commands(path, text) if any(word[:2] == "--" for word in words[1])), None)
    if command is None:
        rule = "holds no command of a training script with --key value options"
        remedy = "give a YAML file, or the shell script or text with the command line"
        raise RecipeError(Fault(key=shown_path(path), rule=rule, remedy=remedy))
    program, options, launcher = command
    processes = _PROCESSES.search(launcher)
    settings = _options(options)
    words: list[str] = [program, *options[:1], path.stem]
    files = [word for word in (*options, str(settings.get("config", ""))) if word.endswith(_YAML)]
    if files:  # a recipe on the command line, and overrides of it
        settings.pop("config", None)
        base = _from_yaml(_beside(path, files[0]))
        settings, words = {**base.settings, **settings}, [*words, *base.words]
    gpus = int(processes[1]) if processes else None
    return Source(path=path, settings=settings, words=tuple(words), processes=gpus)


def _beside(path: Path, name: str) -> Path:
    """The file `name` of a command in `path`: from the working directory, from the folder of `path` or one above it."""
    for folder in (Path(), *list(path.absolute().parents)[:4]):
        if (folder / name).is_file():
            return folder / name
    rule, remedy = "is not here, and the command takes its settings from it", "convert that file, or put it there"
    raise RecipeError(Fault(key=shown_path(path), value=name, rule=rule, remedy=remedy))


def _commands(path: Path, text: str) -> Iterator[tuple[str, list[str], str]]:
    """Program, what follows it and what stands before it, of every command that calls one that trains."""
    values = {name: value.strip("\"'") for name, value in _ASSIGNMENT.findall(text)}
    joined = string.Template(text.replace("\\\n", " ")).safe_substitute(values)
    for line in joined.splitlines():
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            rule = f"is no command line of a shell: {sentence_of(error)}"
            raise RecipeError(Fault(key=shown_path(path), rule=rule)) from error
        at = next((at for at, word in enumerate(words) if _PROGRAMS.search(word)), None)
        if at is not None:
            options = itertools.takewhile(lambda word: not _OPERATORS.fullmatch(word), words[at + 1 :])
            yield words[at], list(options), " ".join(words[:at])
        elif words and words[0].startswith("--"):
            yield "", words, ""


def _options(words: Sequence[str]) -> dict[str, Any]:
    """`--key value`, `--key=value`, `--key a b` (a list) and `--flag`."""
    found: dict[str, list[str]] = {}
    key = None
    for word in words:
        if word.startswith("--"):
            key, _, value = word[2:].partition("=")
            key = key.replace("-", "_")
            found[key] = [value] if value else []
        elif key is not None:
            found[key].append(word)
    return dict(_value(key, values) for key, values in found.items())


def _value(key: str, texts: list[str]) -> tuple[str, Any]:
    if not texts:
        return (key.removeprefix("no_"), False) if key.startswith("no_") else (key, True)
    values = [plain(parse_value(text, key=key)) for text in texts]
    return key, values[0] if len(values) == 1 else values
