"""`alignment rehearse`: every stage of a recipe at a small size, offline."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from alignment.cli.arguments import Config, Words, recipe_and_overrides


def rehearse(
    words: Words = None,
    config: Config = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep model, rows, logs and output.")] = False,
) -> int:
    """Live through a recipe in small, offline.

    ZeRO-3 on two CPU processes, a kill, resuming, saving, and a push to a local Hub.
    """
    os.environ["HF_HUB_OFFLINE"] = "1"  # read when the Hub's client is imported; a rehearsal takes what is here
    source, overrides = recipe_and_overrides(words, config)
    from alignment.rehearsal.rehearse import rehearse

    return rehearse(source, overrides, keep=keep)
