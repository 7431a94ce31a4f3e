"""`make sweep`: every cell trained once, whatever stops it in between; then the best of them as a recipe."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from alignment.data.held_folder import held
from alignment.errors import Fault, SetupError
from alignment.files import write_text
from alignment.methods import METHODS
from alignment.output.checkpoints import checkpoints
from alignment.output.folder import CARD
from alignment.recipe import Recipe
from alignment.recipe.frozen import thaw
from alignment.run.sweep.execute import Job, Launch, run_jobs
from alignment.run.sweep.grid import Cell, Stage, cells_of, check_cells
from alignment.run.sweep.outcome import Outcome, best_of, outcome_of
from alignment.run.sweep.report import RESULTS, draw_picture, print_table, write_results
from alignment.terminal import counted

BEST = "best.yaml"
COLLAPSED = "{default: warn, loss-spike: stop, chosen-falls: stop, rejected-falls: stop, repetition: stop}"
"""`alarms` of a cell whose recipe states none: what has collapsed need not go on."""
Keep = Literal["best", "all", "none"]
"""Whose weights are kept."""


def sweep(
    source: str, overrides: list[str], stages: tuple[Stage, ...], *, launch: Launch, keep: Keep = "best"
) -> Outcome | None:
    """Train every cell that is not done yet, and tell which is best. The same call goes on after whatever stopped it.

    Cells that collapsed are not tried again; cells that failed are.

    Args:
        source: the recipe; `overrides` hold for every cell.
        stages: each decides its keys before the next one begins.
        keep: whose weights stay on disk at the end.

    Returns:
        The best cell; `None` when none is done.

    Raises:
        UserError: a key or value of the grid is at fault, there are no held-out rows to rank by, or the folder holds
            a sweep of another recipe.
    """
    recipe = check_cells(source, overrides, stages)
    _check_held_out(recipe)
    folder = Path(recipe.training["output_dir"]) / "sweep"
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder, ".lock"):
        base = _base_settings(recipe, stages)
        _check_same_recipe(folder, base)
        return _run_stages(recipe, folder, base, (source, *overrides), stages, launch, keep)


def _run_stages(
    recipe: Recipe,
    folder: Path,
    base: dict[str, Any],
    words: tuple[str, ...],
    stages: tuple[Stage, ...],
    launch: Launch,
    keep: Keep,
) -> Outcome | None:
    decided: tuple[tuple[str, str], ...] = ()
    outcomes: list[Outcome] = []
    best = None
    for stage in stages:
        cells = cells_of(stage, decided)
        _run_cells(recipe, folder, words, cells, launch)
        found = [_outcome(folder, cell) for cell in cells]
        outcomes += found
        best = best_of(found)
        write_results(folder, base, outcomes, best)
        draw_picture(folder, stages, outcomes)
        if best is None:
            break
        decided = best.settings
    print_table(outcomes)
    if best is not None:
        _write_best(folder, recipe, words, best)
        _drop_weights(folder, outcomes, best, keep)
        told = f"Best: {best.name}. Its recipe is {folder / BEST}"
        print(f"{told}; train it with make train RECIPE={folder / BEST}, or take its weights: {folder / best.name}")
    return best


def _run_cells(recipe: Recipe, folder: Path, words: Sequence[str], cells: Sequence[Cell], launch: Launch) -> None:
    waiting = [cell for cell in cells if _outcome(folder, cell).state in ("open", "failed")]
    jobs = {folder / cell.name: cell for cell in waiting}
    done = len(cells) - len(waiting)
    if done:
        print(f"{done} of {len(cells)} cells are done already.")
    if not waiting:
        return
    with counted("Sweep", len(waiting), "cells") as advance:

        def ended(job: Job) -> None:
            outcome = _outcome(folder, jobs[job.folder])
            print(f"{outcome.name}: {outcome.state}{f' ({outcome.why})' if outcome.why else ''}", flush=True)
            advance(1)

        run_jobs(
            [Job(words=_words(recipe, words, cell, place), folder=place) for place, cell in jobs.items()], launch, ended
        )


def _words(recipe: Recipe, words: Sequence[str], cell: Cell, place: Path) -> tuple[str, ...]:
    """Recipe and overrides of a cell: its settings, a folder of its own, nothing published, an end on collapse."""
    own = [f"--output_dir={place}", *cell.overrides]
    if recipe.training.get("push_to_hub"):
        own.append("--push_to_hub=false")
    if "alarms" not in recipe.resolved:
        own.append(f"--alarms={COLLAPSED}")
    stated = {word.partition("=")[0] for word in own}
    source, *overrides = words
    return (source, *_without(overrides, stated), *own)


def _without(overrides: Sequence[str], keys: set[str]) -> list[str]:
    """The overrides without those that a cell states itself."""
    kept: list[str] = []
    dropping = False
    for word in overrides:
        if word.startswith("--"):
            dropping = word.partition("=")[0] in keys
        if not dropping:
            kept.append(word)
    return kept


def _outcome(folder: Path, cell: Cell) -> Outcome:
    return outcome_of(folder / cell.name, cell.name, cell.settings)


def _check_held_out(recipe: Recipe) -> None:
    if recipe.training.get("eval_strategy", "no") == "no" and recipe.sample_evaluation is None:
        fault = Fault(
            key="eval_strategy",
            rule="must be stated: a sweep ranks its cells by held-out rows",
            remedy="write eval_strategy: epoch, and dataset_test_split or a mixture with test_split_size",
        )
        raise SetupError(fault, where=recipe.name)


def _base_settings(recipe: Recipe, stages: tuple[Stage, ...]) -> dict[str, Any]:
    """What all cells share."""
    varied = {axis.key.partition(".")[0] for stage in stages for axis in stage}
    settings: dict[str, Any] = thaw(recipe.resolved)
    return {key: value for key, value in settings.items() if key not in varied}


def _check_same_recipe(folder: Path, base: Mapping[str, Any]) -> None:
    path = folder / RESULTS
    if not path.is_file():
        return
    before = json.loads(path.read_text(encoding="utf-8"))["recipe"]
    now = json.loads(json.dumps(base))
    common = {*before} & {*now}  # a key may have joined or left the grid
    changed = [key for key in sorted(common) if before[key] != now[key] and not _is_place(key)]
    if changed:
        rule = f"was another one in the sweep in {folder}"
        remedy = "restore it, or choose another --output_dir"
        raise SetupError([Fault(key=key, value=now[key], rule=rule, remedy=remedy) for key in changed])


def _is_place(key: str) -> bool:
    """Keys with paths are written relative to the working directory, and decide no number."""
    return key in ("output_dir", "hub_model_id", "report_to", "push_to_hub")


def _write_best(folder: Path, recipe: Recipe, words: Sequence[str], best: Outcome) -> None:
    """A recipe that extends the base with what the sweep was called with and what it found."""
    import yaml

    from alignment.recipe import load_recipe

    overrides = [*words[1:], *(f"--{key}={value}" for key, value in best.settings)]
    found = load_recipe(words[0], overrides)
    from alignment.recipe.overrides import parse_overrides

    keys = [str(change.parts[0]) for change in parse_overrides(overrides)[0]]
    settings = {key: value for key, value in thaw(found.resolved).items() if key in keys and key != "output_dir"}
    stated = {"extends": str(recipe.path), **settings, "output_dir": f"{recipe.training['output_dir']}-best"}
    what = METHODS[recipe.method].title
    head = f"# {recipe.name} ({what}) with the best settings of a sweep: {best.name}\n\n"
    write_text(folder / BEST, head + yaml.safe_dump(stated, sort_keys=False, allow_unicode=True))


def _drop_weights(folder: Path, outcomes: Sequence[Outcome], best: Outcome, keep: Keep) -> None:
    """Remove checkpoints of all cells, and the weights of those that are not kept; what was measured stays."""
    for outcome in outcomes:
        place = folder / outcome.name
        if outcome.state != "done" or not (place / CARD).is_file():
            continue
        for checkpoint in checkpoints(place):
            shutil.rmtree(checkpoint)
        if keep == "none" or (keep == "best" and outcome.name != best.name):
            for weights in place.glob("*.safetensors"):
                weights.unlink()
