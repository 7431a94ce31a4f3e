"""Every prompt with its answers and scores, and the pairs that the recipe's rules make of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from alignment.data.selection import Selection, select_pairs
from alignment.pairs.generate import answer_id, draws_of
from alignment.pairs.prompt import Prompt
from alignment.pairs.prompts import Prompts
from alignment.pairs.records import Records
from alignment.recipe.pairs_recipe import PairsRecipe


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One prompt, with one entry for each draw."""

    prompt: Prompt
    texts: Sequence[str]
    finished: Sequence[bool]
    """Whether the model ended each answer itself."""
    tokens: Sequence[int]
    scores: Sequence[float]
    selection: Selection


def selected(recipe: PairsRecipe, prompts: Prompts, answers: Records, scores: Records) -> Iterator[Scored]:
    """The prompts in their order, whatever order answers and scores came in."""
    draws = draws_of(recipe)
    for prompt in prompts:
        ids = [answer_id(prompt, draw) for draw in draws]
        drawn = [answers[id] for id in ids]
        texts, finished = [answer["text"] for answer in drawn], [answer["finished"] for answer in drawn]
        given = [scores[id]["score"] for id in ids]
        yield Scored(
            prompt=prompt,
            texts=texts,
            finished=finished,
            tokens=[answer["tokens"] for answer in drawn],
            scores=given,
            selection=select_pairs(texts, given, recipe.settings.selection, key=prompt.id, finished=finished),
        )


def all_there(recipe: PairsRecipe, prompts: Prompts, records: Records) -> bool:
    """Whether every answer to every prompt has its record, those of other workers included."""
    records.refresh()
    draws = draws_of(recipe)
    return all(answer_id(prompt, draw) in records for prompt in prompts for draw in draws)
