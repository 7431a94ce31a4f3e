"""`alignment export`: a finished run in the form that other programs read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from alignment.cli.arguments import Config, Words, recipe_and_overrides


def export(
    words: Words = None,
    config: Config = None,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help="safetensors (the whole model in bf16), merged (adapters in their base), gguf (llama.cpp's file).",
        ),
    ] = "safetensors",
    output: Annotated[
        Path | None, typer.Option("--output", help="The new folder; the run's with the format behind it when absent.")
    ] = None,
    llama_cpp: Annotated[
        Path | None,
        typer.Option("--llama_cpp", envvar="LLAMA_CPP", help="Folder of llama.cpp; gguf needs its converter."),
    ] = None,
    precision: Annotated[str, typer.Option("--precision", help="Of a GGUF file: f32, f16, bf16 or q8_0.")] = "bf16",
) -> None:
    """Export a finished run: loaded again, compared with it, and in a folder of its own."""
    os.environ.setdefault("TQDM_DELAY", "3")  # of the libraries' bars, which read it when they are imported
    source, overrides = recipe_and_overrides(words, config)
    from alignment.files import shown_path
    from alignment.output.export import export_run
    from alignment.recipe import load_recipe

    recipe = load_recipe(source, overrides)
    written = export_run(recipe, form, target=output, llama_cpp=llama_cpp, precision=precision)
    print(f"\nExported: {shown_path(written)}")
    for file in sorted(written.iterdir()):
        print(f"  {file.name}  {file.stat().st_size:,} bytes")
