"""What the commands that ask a model have in common: which model, and how it answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from alignment.errors import SetupError
from alignment.recipe.generation_settings import GenerationSettings

if TYPE_CHECKING:
    from alignment.generation import Engine
    from alignment.recipe import ModelArguments, Recipe

Model = Annotated[
    str | None,
    typer.Option("--model", help="Folder (of adapters, too), recipe or Hub id to ask instead of the trained model."),
]
EngineName = Annotated[str, typer.Option("--engine", help="auto, transformers, vllm or server.")]
BaseUrl = Annotated[
    str | None, typer.Option("--base_url", help="Address of an OpenAI-compatible server, up to /v1; asks that one.")
]
ServerModel = Annotated[str | None, typer.Option("--server_model", help="The model as the server calls it.")]
MaxNewTokens = Annotated[int, typer.Option("--max_new_tokens", help="Longest answer.")]
Temperature = Annotated[float, typer.Option("--temperature", help="0 is greedy.")]
TopP = Annotated[float, typer.Option("--top_p", help="Share of the probability that is drawn from.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of the draws.")]


class Asked(NamedTuple):
    """A model to ask."""

    model: ModelArguments
    template: str | None
    """Jinja source in place of the tokenizer's own."""
    spare_template: str | None
    """Jinja source for a tokenizer that has none."""

    def identity(self) -> dict[str, str]:
        """Which model it is: its name, and a digest of its weights where they lie on this machine."""
        from alignment.modeling.weights_fingerprint import weights_fingerprint

        name, revision = self.model.model_name_or_path, self.model.model_revision
        folder = Path(name)
        return {"name": name, "weights": weights_fingerprint(folder) if folder.is_dir() else revision}

    def engine(self, settings: GenerationSettings) -> Engine:
        """The engine that answers for it."""
        from alignment.generation import load_engine

        return load_engine(settings, self.model, chat_template=self.template, spare_template=self.spare_template)


def checked(settings: GenerationSettings) -> GenerationSettings:
    """The settings of a command line.

    Raises:
        SetupError: with every option that is out of its range.
    """
    if faults := list(settings.faults("")):
        raise SetupError(faults)
    return settings


def asked_model(recipe: Recipe, named: str | None, settings: GenerationSettings) -> Asked:
    """The model that is asked: what the recipe was trained to, or the one that is named.

    A saved model brings its template; one without any is asked by the recipe's, as adapters without a tokenizer are.

    Raises:
        SetupError: there is no such model, or the recipe's is not trained yet.
    """
    from alignment.evaluation.subjects import find_subjects
    from alignment.modeling.load import as_saved

    template = recipe.data.chat_template
    if settings.base_url is not None:
        name = named or settings.server_model or recipe.model.model_name_or_path
        return Asked(as_saved(recipe.model, name), None, None)
    (subject,) = find_subjects(recipe, model=named)
    return Asked(subject.arguments, subject.chat_template, template)


def base_model(recipe: Recipe) -> Asked:
    """The model that the recipe trains, as it was before."""
    from alignment.evaluation.subjects import BASE, find_subjects

    (subject,) = find_subjects(recipe, compare=[BASE])
    return Asked(subject.arguments, subject.chat_template, None)
