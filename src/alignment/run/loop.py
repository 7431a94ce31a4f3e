"""Rounds of pairs, training and evaluation. Run again it goes on where it was stopped.

`loop.json` says which stages are finished and what they found; a stage that is not goes on by itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignment.errors import DataError, Fault, SetupError
from alignment.files import write_json
from alignment.output.folder import FREE_KEYS
from alignment.pairs.workers import Worker
from alignment.recipe.frozen import flat
from alignment.recipe.loop_recipe import LoopRecipe
from alignment.report.loop_facts import evaluation_facts, pairs_facts, training_facts
from alignment.report.loop_report import PICTURE, draw_rounds, print_rounds
from alignment.run.loop_stages import EVALUATE, PAIRS, TRAIN, Launchers, Round, run_stage

FILE = "loop.json"
_FREE = frozenset({"rounds", "min_pairs", "output_dir", *(f"train.{key}" for key in FREE_KEYS)})
"""Keys that change nothing that a finished stage has done; of `train.alarms.nan` counts `train.alarms`."""
_FACTS = {PAIRS: pairs_facts, TRAIN: training_facts, EVALUATE: evaluation_facts}


def run_loop(recipe: LoopRecipe, launchers: Launchers) -> Path:
    """Run every round that is not finished; returns the folder.

    Raises:
        UserError: what hinders a stage, too few pairs, or another recipe in the folder.
        RunFailed: a stage failed.
    """
    recipe.folder.mkdir(parents=True, exist_ok=True)
    with Worker().lock(recipe.folder):
        finished = _finished(recipe)
        for number in range(1, recipe.settings.rounds + 1):
            _run_round(Round(recipe=recipe, number=number), launchers, finished)
        last = Round(recipe=recipe, number=recipe.settings.rounds).folder(TRAIN)
        print(f"\nDone. {recipe.folder} holds {FILE} and {PICTURE}; the last model is in {last}.")
    return recipe.folder


def _run_round(at: Round, launchers: Launchers, finished: list[dict[str, Any]]) -> None:
    """Run what is missing of a round, and show where the loop stands."""
    facts = finished[at.number - 1] if at.number <= len(finished) else {"round": at.number}
    stages = [PAIRS, TRAIN, *([EVALUATE] if at.recipe.settings.evaluate else [])]
    missing = [stage for stage in stages if stage not in facts]
    for stage in missing:
        print(f"\nRound {at.number} of {at.recipe.settings.rounds}: {stage}", flush=True)
        run_stage(at, stage, launchers)
        found = _FACTS[stage](at.folder(stage))
        if stage == PAIRS:
            _require_pairs(at, found)
        facts = {**facts, stage: found}
        finished[at.number - 1 :] = [facts]
        write_json(at.recipe.folder / FILE, {"name": at.recipe.name, "recipe": _stated(at.recipe), "rounds": finished})
    if missing or at.number == at.recipe.settings.rounds:
        print_rounds(finished, name=at.recipe.name)
        draw_rounds(at.recipe.folder, finished)


def _require_pairs(at: Round, found: Mapping[str, Any]) -> None:
    if found["train"] >= at.recipe.min_pairs:
        return
    why = ", ".join(f"{count} x {reason}" for reason, count in found["prompts_without"].items())
    rule = f"is not reached in round {at.number}: {found['train']} pairs of {found['prompts']} prompts ({why})"
    remedy = "ask more prompts, loosen pairs.selection in a loop of another output_dir, or lower min_pairs"
    raise DataError(Fault(key="min_pairs", value=at.recipe.min_pairs, rule=rule, remedy=remedy))


def _finished(recipe: LoopRecipe) -> list[dict[str, Any]]:
    """What the finished stages in the folder found.

    Raises:
        SetupError: they are those of another recipe, or the record is damaged.
    """
    path = recipe.folder / FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        before, finished = dict(content["recipe"]), list(content["rounds"])
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        rule, remedy = f"is damaged: {error}", "remove it; finished stages are found again"
        raise SetupError(Fault(key=str(path), rule=rule, remedy=remedy)) from error
    now = _stated(recipe)
    changed = [key for key in sorted({*before, *now}) if not _free(key) and before.get(key) != now.get(key)]
    faults = [_changed(key, before.get(key, "(absent)"), now.get(key, "(absent)"), recipe.folder) for key in changed]
    if faults:
        raise SetupError(faults)
    return finished


def _stated(recipe: LoopRecipe) -> dict[str, Any]:
    """Every stated value by its dotted key, as JSON gives it back."""
    return json.loads(json.dumps(dict(flat(recipe.describe()["settings"]))))


def _free(key: str) -> bool:
    return key in _FREE or any(key.startswith(f"{free}.") for free in _FREE)


def _changed(key: str, before: object, now: object, folder: Path) -> Fault:
    rule = f"was {before!r} in the rounds that are finished in {folder}"
    return Fault(key=key, value=now, rule=rule, remedy="restore it, choose another --output_dir, or delete the folder")
