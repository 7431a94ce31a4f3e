"""`alignment chat`: talk with a recipe's trained model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing
from typing import Annotated

import typer

from alignment.cli.arguments import Config, Words, recipe_and_overrides
from alignment.cli.asking import (
    BaseUrl,
    EngineName,
    MaxNewTokens,
    Model,
    Seed,
    ServerModel,
    Temperature,
    TopP,
    asked_model,
    checked,
)
from alignment.recipe.generation_settings import GenerationSettings


def chat(
    words: Words = None,
    config: Config = None,
    model: Model = None,
    system: Annotated[str | None, typer.Option("--system", help="A system message; /system changes it.")] = None,
    max_new_tokens: MaxNewTokens = 1024,
    temperature: Temperature = 0.7,
    top_p: TopP = 1.0,
    seed: Seed = 0,
    engine: EngineName = "auto",
    base_url: BaseUrl = None,
    server_model: ServerModel = None,
) -> None:
    """Talk with the trained model of a recipe.

    /reset, /system TEXT, /help and /exit; Ctrl-C stops an answer, Ctrl-D leaves. Lines may come through a pipe.
    """
    settings = checked(
        GenerationSettings(
            engine=engine,
            base_url=base_url,
            server_model=server_model,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
            seeds=(seed,),
        )
    )
    source, overrides = recipe_and_overrides(words, config)
    from alignment.generation.conversation import Conversation
    from alignment.recipe import load_recipe
    from alignment.terminal import tidy_output

    tidy_output()
    asked = asked_model(load_recipe(source, overrides), model, settings)
    watched = sys.stdin.isatty()
    with closing(asked.engine(settings)) as loaded:
        note(f"{asked.model.model_name_or_path} ({loaded.name}); /help, /exit, Ctrl-C stops an answer")
        Conversation(loaded, seed=seed, system=system, write=show, note=note, patient=watched).run(typed(watched))


def typed(watched: bool) -> Iterator[str]:
    """Lines as they are typed, or come through a pipe."""
    if watched:
        import readline  # noqa: F401 (lends `input` its line editing)
    else:
        sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]
    while True:
        try:
            yield input("> " if watched else "")
        except EOFError:
            note("")
            return
        except KeyboardInterrupt:
            if not watched:
                raise
            note("\n(Ctrl-D or /exit leaves)")


def show(piece: str) -> None:
    """A piece of an answer, at once."""
    print(piece, end="", flush=True)


def note(line: str) -> None:
    """A line that is no answer."""
    print(line, file=sys.stderr, flush=True)
