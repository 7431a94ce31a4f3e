"""`alignment generate`: ask a recipe's trained model one thing, or a file of things."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alignment.cli.arguments import Config, Words, recipe_and_overrides
from alignment.cli.asking import (
    Asked,
    BaseUrl,
    EngineName,
    MaxNewTokens,
    Model,
    Seed,
    ServerModel,
    Temperature,
    TopP,
    asked_model,
    base_model,
    checked,
)
from alignment.errors import Fault, SetupError
from alignment.recipe.generation_settings import HOW_FAST, GenerationSettings

if TYPE_CHECKING:
    from alignment.generation.answer_file import AnswerFile
    from alignment.generation.answers import Answer


_SHARES = ("unfinished", "empty", "repeating", "echoing")


def generate(
    words: Words = None,
    config: Config = None,
    prompt: Annotated[str | None, typer.Option("--prompt", help="What to ask.", show_default=False)] = None,
    prompts: Annotated[
        Path | None, typer.Option("--prompts", help="A file of prompts: rows with prompt or messages, or .txt.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", help="Where their answers go: PROMPTS with .answers.jsonl when absent.")
    ] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Beside it what the base model answers.")] = False,
    model: Model = None,
    max_new_tokens: MaxNewTokens = 200,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    seed: Seed = 0,
    engine: EngineName = "auto",
    base_url: BaseUrl = None,
    server_model: ServerModel = None,
) -> None:
    """Ask the trained model of a recipe.

    Answers stop at every stop token of the chat template, and are greedy unless a temperature is given.
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
    _check_question(prompt, prompts, output)
    if compare and base_url is not None:
        remedy = "leave one of them out"
        raise SetupError(Fault(key="compare", rule="asks two models, and base_url is a server of one", remedy=remedy))
    source, overrides = recipe_and_overrides(words, config)
    from alignment.recipe import load_recipe
    from alignment.terminal import tidy_output

    tidy_output()
    recipe = load_recipe(source, overrides)
    asked = asked_model(recipe, model, settings)
    base = base_model(recipe) if compare else None
    if prompts is not None:
        _answer_file(asked, base, settings, prompts, output or prompts.with_suffix(".answers.jsonl"))
    elif prompt is not None:
        _answer(asked, base, settings, prompt)


def _check_question(prompt: str | None, prompts: Path | None, output: Path | None) -> None:
    """Raise `SetupError` unless there is one question, or one file of them."""
    example = 'give one: make generate PROMPT="Why is the sky blue?", or a file: PROMPTS=prompts.jsonl'
    if prompt is not None and prompts is not None:
        raise SetupError(Fault(key="prompt", rule="and prompts are both given", remedy="leave one of them out"))
    if prompts is None and not (prompt or "").strip():
        raise SetupError(Fault(key="prompt", rule="is empty", remedy=example))
    if prompts is None and output is not None:
        raise SetupError(Fault(key="output", rule="is for the answers to a file of prompts", remedy=example))


def _answer(asked: Asked, base: Asked | None, settings: GenerationSettings, prompt: str) -> None:
    """One answer, as it is drawn; or two, side by side."""
    if base is not None:
        _side_by_side(_drawn(base, settings, prompt, quiet=True), _drawn(asked, settings, prompt, quiet=True))
        return
    answer = _drawn(asked, settings, prompt)
    print()
    if not answer.finished:
        print(f"(cut at {answer.tokens} tokens; --max_new_tokens allows more)", file=sys.stderr)


def _drawn(asked: Asked, settings: GenerationSettings, prompt: str, *, quiet: bool = False) -> Answer:
    from alignment.generation import Request

    request = Request(id="prompt", messages=[{"role": "user", "content": prompt}], seed=settings.seeds[0])
    with closing(asked.engine(settings)) as engine:
        return engine.stream(request, lambda piece: None if quiet else print(piece, end="", flush=True))


def _side_by_side(base: Answer, now: Answer) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_lines=True)
    for title in ("base", "trained"):
        table.add_column(title, ratio=1)
    table.add_row(*(Text(answer.text if answer.finished else f"{answer.text} …") for answer in (base, now)))
    Console().print(table)


def _answer_file(asked: Asked, base: Asked | None, settings: GenerationSettings, prompts: Path, output: Path) -> None:
    """Answers to a file of prompts; the same command goes on with those that are missing."""
    from alignment.generation.answer_file import BASE, TAKEN, AnswerFile
    from alignment.generation.answer_prompts import answer_prompts
    from alignment.generation.prompt_file import count_prompts

    count = count_prompts(prompts, taken=TAKEN)
    models = {"": asked} | ({BASE: base} if base else {})
    with closing(AnswerFile(output, _about(models, settings, prompts))) as answers:
        for prefix, one in models.items():
            answer_prompts(
                prompts, count, answers, partial(one.engine, settings), seed=settings.seeds[0], prefix=prefix
            )
        answers.finish()
        print(f"{output}: answers to {count} prompts")
        _tell_quality(answers)


def _about(models: Mapping[str, Asked], settings: GenerationSettings, prompts: Path) -> dict[str, Any]:
    """What decides the answers."""
    from alignment.data.disk_cache import digest_of_file

    return {
        "prompts": digest_of_file(prompts),
        **{f"{prefix}model": one.identity() for prefix, one in models.items()},
        **{name: value for name, value in asdict(settings).items() if name not in HOW_FAST},
    }


def _tell_quality(answers: AnswerFile) -> None:
    """The shares of each model's answers, and what sound models do not do."""
    from alignment.generation.answer_file import BASE
    from alignment.generation.answer_prompts import qualities
    from alignment.generation.quality import findings

    found = qualities(answers)
    for prefix, one in found.items():
        shares = ", ".join(
            f"{getattr(one, name):.0%} {name}" for name in ("unfinished", "empty", "repeating", "echoing")
        )
        print(f"{'base: ' if prefix else ''}{shares}; {one.mean_words:.0f} words on average")
    for finding in findings(found[""], found.get(BASE)):
        print(finding.message)
