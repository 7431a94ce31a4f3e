"""Which chat template a recipe means, and whether it is sound."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.parser
import jinja2.sandbox

from alignment.errors import Fault, RecipeError, sentence_of
from alignment.recipe.template_limits import OutOfTime, bounded

GENERATION = re.compile(r"\s*{%-?\s*(?:end)?generation\s*-?%}\s*")
"""The marks around what the assistant says."""

TEMPLATES = Path(__file__).parent.parent / "templates"


def shipped_templates() -> dict[str, Path]:
    """The templates of this package by name (`gemma2`, ...)."""
    return {path.stem: path for path in sorted(TEMPLATES.glob("*.jinja"))}


def resolve_chat_template(value: str) -> str:
    """The Jinja source that the recipe's `chat_template` means.

    Args:
        value: inline Jinja, a file path, or the name of a shipped template with or without `.jinja`.

    Raises:
        RecipeError: no such template, or not valid Jinja.
    """
    if "{{" in value or "{%" in value:
        _check_syntax(value, "chat_template")
        return value
    path = Path(value).expanduser()
    found = path if path.is_file() else shipped_templates().get(value.removesuffix(".jinja"))
    if found is None:
        names = list(shipped_templates())
        near = difflib.get_close_matches(value, names, n=1)
        raise RecipeError(
            Fault(
                key="chat_template",
                value=value,
                rule="is neither inline Jinja, nor a file, nor a shipped template",
                remedy=f"did you mean {near[0]}?" if near else f"shipped are {', '.join(names)}",
            )
        )
    try:
        source = found.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        rule = f"cannot be read as UTF-8 text: {sentence_of(error)}"
        raise RecipeError(Fault(key="chat_template", value=str(found), rule=rule, remedy="save it as UTF-8")) from error
    _check_syntax(source, f"chat_template {found}")
    return source


class GenerationBlock(jinja2.ext.Extension):
    """`{% generation %}`, the tag by which transformers marks what the assistant said."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _check_syntax(source: str, key: str) -> None:
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(extensions=[GenerationBlock, "jinja2.ext.loopcontrols"])
    others = (jinja2.nodes.Include, jinja2.nodes.Import, jinja2.nodes.FromImport, jinja2.nodes.Extends)
    try:
        with bounded():  # Jinja computes constant expressions now
            found = next(environment.parse(source).find_all(others), None)
            environment.compile(source)
    except jinja2.TemplateSyntaxError as error:
        rule = f"is not valid Jinja: {(error.message or '').rstrip('.')} in line {error.lineno}"
        raise RecipeError(Fault(key=key, rule=rule)) from error
    except (RecursionError, MemoryError, SyntaxError, ValueError, OverflowError, OutOfTime) as error:
        # What Jinja writes as Python may be more than Python takes.
        raise RecipeError(Fault(key=key, rule=f"cannot be compiled: {sentence_of(error)}")) from error
    if found is not None:
        rule = f"asks for another file ({type(found).__name__.lower()}) in line {found.lineno}, and is saved alone"
        raise RecipeError(Fault(key=key, rule=rule, remedy="put all of it into one template"))
