"""Answers to every prompt, one by each seed under each system message, kept as they come."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from alignment.errors import DataError, Fault
from alignment.generation import Request, load_engine
from alignment.modeling.load import model_folder
from alignment.modeling.weights_fingerprint import weights_fingerprint
from alignment.pairs.prompt import Prompt
from alignment.pairs.prompts import Prompts
from alignment.pairs.records import Records
from alignment.pairs.stages import flat, stage_records
from alignment.pairs.workers import Worker
from alignment.recipe.generation_settings import HOW_FAST
from alignment.recipe.pairs_recipe import PairsRecipe
from alignment.terminal import counted

_FREE = HOW_FAST | {"seeds", "base_url"}
"""Keys of `generation` that say which answers are drawn, or how fast, and not what they are."""


class Draw(NamedTuple):
    """One answer that every prompt gets."""

    seed: int
    system: str | None

    @property
    def name(self) -> str:
        """What its records are called, after the prompt's id: the same whatever else a recipe draws."""
        if self.system is None:
            return str(self.seed)
        return f"{self.seed}-{hashlib.sha256(self.system.encode()).hexdigest()[:8]}"


def draws_of(recipe: PairsRecipe) -> list[Draw]:
    """In the order in which a prompt's answers stand."""
    settings = recipe.settings
    return [Draw(seed, system) for system in settings.prompts.system_messages for seed in settings.generation.seeds]


def answer_id(prompt: Prompt, draw: Draw) -> str:
    """What a record of this answer is called."""
    return f"{prompt.id}/{draw.name}"


def draw_answers(recipe: PairsRecipe, prompts: Prompts, worker: Worker) -> Records:
    """Have this worker's share of the answers drawn; those that are there stay.

    Returns:
        Records `{"id", "text", "finished", "tokens"}` of all workers.

    Raises:
        UserError: the engine cannot be loaded or fails, a prompt cannot be answered, or answers by other settings are
            there. What was drawn is kept.
    """
    settings = recipe.settings
    records = stage_records(
        recipe.folder, "answers", answer_settings(recipe), worker=worker, anew=settings.overwrite_output_dir
    )
    draws = draws_of(recipe)
    missing = sum(answer_id(prompt, draw) not in records for prompt in worker.share(prompts) for draw in draws)
    if missing:
        engine = load_engine(settings.generation, recipe.model, chat_template=recipe.settings.chat_template)
        label = worker.named(f"Answers of {settings.model_name_or_path}")
        with closing(engine), records.adding(worker) as added, counted(label, missing, "answers") as advance:
            try:
                for request, answer in engine.answers(_requests(worker.share(prompts), draws, records)):
                    added.add({"id": request.id, **asdict(answer)})
                    advance(1)
            except DataError as error:
                raise DataError([_named(fault, prompts) for fault in error.faults]) from error
        records.refresh()
    return records


def answer_settings(recipe: PairsRecipe) -> dict[str, Any]:
    """Everything that decides what is answered to a prompt by a seed."""
    settings, template = recipe.settings, recipe.settings.chat_template
    in_process = settings.generation.engine != "server" and settings.generation.base_url is None
    return {
        "model_name_or_path": settings.model_name_or_path,
        "model_revision": settings.model_revision,
        "weights of model_name_or_path": _weights(recipe) if in_process else None,
        "tokenizer_name_or_path": settings.tokenizer_name_or_path,
        "chat_template": template and hashlib.sha256(template.encode()).hexdigest(),
        **flat("generation", asdict(settings.generation), without=_FREE),
    }


def _weights(recipe: PairsRecipe) -> str | None:
    """Of a local folder, whose weights may have been trained on; a Hub id is known by its revision."""
    local = Path(recipe.settings.model_name_or_path).is_dir()
    return weights_fingerprint(model_folder(recipe.model)) if local else None


def _requests(prompts: Iterator[Prompt], draws: list[Draw], records: Records) -> Iterator[Request]:
    for prompt in prompts:
        for draw in draws:
            id = answer_id(prompt, draw)
            if id not in records:
                opening = () if draw.system is None else ({"role": "system", "content": draw.system},)
                yield Request(id=id, messages=(*opening, *prompt.messages), seed=draw.seed)


def _named(fault: Fault, prompts: Prompts) -> Fault:
    """`fault` with the prompt in place of the request's id."""
    id, _, draw = fault.key.removeprefix("request ").partition("/")
    found = next((prompt for prompt in prompts if prompt.id == id), None)
    return fault if found is None else replace(fault, key=f"answer {draw} to {found}")
