"""`alignment convert`: a recipe of another project, as one of ours."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def convert(
    file: Annotated[Path, typer.Argument(help="A YAML file, or a shell script or text with a command line.")],
    output: Annotated[Path | None, typer.Option("--output", help="Where the recipe goes; stdout when absent.")] = None,
    gpus: Annotated[
        int | None, typer.Option("--gpus", min=1, help="GPUs it was run on, which make global_batch_size.")
    ] = None,
) -> None:
    """Turn a recipe of the alignment-handbook, the SimPO authors, TRL, axolotl or LLaMA-Factory into ours.

    Everything that was changed, added, dropped or could not be carried is told on stderr, key by key.
    """
    from alignment.errors import Fault, RecipeError
    from alignment.files import write_text
    from alignment.recipe.convert import convert_file

    if output is not None and output.exists():
        remedy = "give another name, or remove it"
        raise RecipeError(Fault(key="--output", value=str(output), rule="is there already", remedy=remedy))
    converted = convert_file(file, gpus=gpus)
    for note in converted.notes:
        print(note, file=sys.stderr)
    if output is None:
        print(converted.text, end="")
    else:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_text(output, converted.text)
        print(f"{output}: a recipe of {converted.origin}. Check it: make check RECIPE={output}", file=sys.stderr)
    if not converted.complete:
        print("It is not complete: add what is missing, and it can be trained.", file=sys.stderr)
