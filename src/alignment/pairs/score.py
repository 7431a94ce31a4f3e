"""A score for every answer, kept as they come."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from alignment.data.disk_cache import digest_of_file
from alignment.data.fingerprint import digest_of
from alignment.errors import DataError, Fault
from alignment.modeling.weights_fingerprint import weights_fingerprint
from alignment.pairs.generate import Draw, answer_id, answer_settings, draws_of
from alignment.pairs.prompt import Prompt
from alignment.pairs.prompts import Prompts
from alignment.pairs.records import Records
from alignment.pairs.stages import flat, stage_records
from alignment.pairs.workers import Worker
from alignment.recipe.pairs_recipe import PairsRecipe
from alignment.scoring import Scorer, load_scorer
from alignment.terminal import counted

_CONVERSATION = re.compile(r"conversation (\d+)")
"""How scorers name what they were given."""


class _Answer(NamedTuple):
    """One to be scored."""

    prompt: Prompt
    draw: Draw
    id: str


def score_answers(recipe: PairsRecipe, prompts: Prompts, answers: Records, worker: Worker) -> Records:
    """Have this worker's share of the answers scored; those that are there stay.

    Returns:
        Records `{"id", "score"}` of all workers.

    Raises:
        UserError: the scorer cannot be loaded, or does not give each answer a finite number; or scores by other
            settings are there. What was scored is kept.
    """
    settings = recipe.settings
    records = stage_records(
        recipe.folder, "scores", score_settings(recipe), worker=worker, anew=settings.overwrite_output_dir
    )
    missing = sum(1 for _ in _missing(recipe, prompts, records, worker))
    if missing:
        scorer = load_scorer(settings.scorer.name, revision=settings.scorer.revision, **settings.scorer.options)
        label = worker.named(f"Scores by {settings.scorer.name}")
        with records.adding(worker) as added, counted(label, missing, "answers") as advance:
            waiting = _missing(recipe, prompts, records, worker)
            while batch := list(islice(waiting, settings.scorer.batch_size)):
                for answer, score in zip(batch, _scores(scorer, batch, answers), strict=True):
                    added.add({"id": answer.id, "score": score})
                advance(len(batch))
        records.refresh()
    return records


def score_settings(recipe: PairsRecipe) -> dict[str, Any]:
    """Everything that decides a score."""
    scorer = recipe.settings.scorer
    return {
        "scorer.name": scorer.name,
        "scorer.revision": scorer.revision,
        "content of scorer.name": _content(scorer.name),
        **flat("scorer.options", scorer.options),
        "answers": digest_of(answer_settings(recipe)),
    }


def _content(name: str) -> str | None:
    """Of what lies on this machine and may be changed: a folder of weights, the file of a function."""
    if Path(name).is_dir():
        return weights_fingerprint(Path(name))
    module, colon, _ = name.partition(":")
    if not colon or not all(part.isidentifier() for part in module.split(".")):
        return None
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # as `load_scorer` does
    try:
        found = importlib.util.find_spec(module)
    except ImportError:
        return None  # `load_scorer` tells of it
    return digest_of_file(Path(found.origin)) if found and found.origin and Path(found.origin).is_file() else None


def _missing(recipe: PairsRecipe, prompts: Prompts, records: Records, worker: Worker) -> Iterator[_Answer]:
    draws = draws_of(recipe)
    for prompt in worker.share(prompts):
        for draw in draws:
            id = answer_id(prompt, draw)
            if id not in records:
                yield _Answer(prompt, draw, id)


def _scores(scorer: Scorer, batch: Sequence[_Answer], answers: Records) -> list[float]:
    """One finite number for each.

    Raises:
        DataError: naming the prompts of those that have none.
    """
    conversations = [
        [*answer.prompt.messages, {"role": "assistant", "content": answers[answer.id]["text"]}] for answer in batch
    ]
    try:
        return scorer.score(conversations)
    except DataError as error:
        raise DataError([_named(fault, batch) for fault in error.faults]) from error


def _named(fault: Fault, batch: Sequence[_Answer]) -> Fault:
    """`fault` with the prompt in place of its number within the batch."""
    found = _CONVERSATION.fullmatch(fault.key)
    if found is None:
        return fault
    answer = batch[int(found[1])]
    return replace(fault, key=f"answer {answer.draw.name} to {answer.prompt}")
