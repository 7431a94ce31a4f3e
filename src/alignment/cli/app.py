"""The table of commands, and the one entry point of the console script, the scripts and the Make targets."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer

import alignment
from alignment.cli import (
    chat,
    check,
    convert,
    data,
    evaluate,
    export,
    generate,
    loop,
    new,
    pairs,
    plan,
    push,
    push_data,
    recipes,
    rehearse,
    report,
    schema,
    sweep,
    train,
)
from alignment.cli.arguments import OVERRIDABLE
from alignment.cli.exit import guarded, leave

app = typer.Typer(
    help=alignment.__doc__,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def guard(command: Callable[..., int | None]) -> Callable[..., None]:
    """`command`, ending the process with its exit code and without a traceback for a user's mistake."""

    @functools.wraps(command)
    def guarded_command(*args: Any, **kwargs: Any) -> None:
        leave(guarded(lambda: command(*args, **kwargs)))

    return guarded_command


for _command in (
    train.train,
    check.check,
    plan.plan,
    data.data,
    pairs.pairs,
    loop.loop,
    rehearse.rehearse,
    generate.generate,
    chat.chat,
    evaluate.evaluate,
    report.report,
    sweep.sweep,
    export.export,
    push.push,
    push_data.push_data,
):
    app.command(context_settings=OVERRIDABLE)(guard(_command))
app.command()(guard(recipes.recipes))
app.command()(guard(report.compare))
app.command(context_settings=OVERRIDABLE)(guard(new.new))
app.command()(guard(schema.schema))
app.command()(guard(convert.convert))


def main(command: str | None = None, argv: Sequence[str] | None = None, *, method: str | None = None) -> None:
    """Run the command line and exit.

    Args:
        command: what a script runs, whatever follows on its own command line.
        argv: words of the command line; the process's own when absent.
        method: what the recipe's method must be (`scripts/dpo.py`).
    """
    words = list(sys.argv[1:] if argv is None else argv)
    app(args=words if command is None else [command, *words], prog_name="alignment", obj=method)
