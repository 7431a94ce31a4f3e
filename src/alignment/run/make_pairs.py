"""The life of a data set of preference pairs: prompts, answers, scores, pairs, files, card.

Run again it goes on where it was stopped: whatever was drawn or scored is on disk, and found by what decided it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alignment.data.fingerprint import digest_of
from alignment.errors import DataError, Fault, SetupError, UserError
from alignment.files import write_text
from alignment.hub.account import check_destination
from alignment.pairs.dataset import test_prompts, write_splits
from alignment.pairs.generate import answer_settings, draw_answers, draws_of
from alignment.pairs.prompts import Measure, Prompts, read_prompts
from alignment.pairs.records import Records, writing
from alignment.pairs.score import score_answers, score_settings
from alignment.pairs.select import all_there, selected
from alignment.pairs.statistics import Statistics
from alignment.pairs.workers import this_worker, wait_until
from alignment.publish.finished import tell
from alignment.publish.pairs import destination_of_pairs, publish_pairs
from alignment.recipe.files import recipe_word
from alignment.recipe.pairs_recipe import PairsRecipe
from alignment.report.pairs_card import build_pairs_card
from alignment.report.pairs_manifest import PAIRS_MANIFEST, changed_files, read_pairs_manifest, write_pairs_manifest
from alignment.report.pairs_picture import draw_picture
from alignment.report.seal import edited_by_hand
from alignment.scoring import check_scorer


@dataclass(frozen=True, kw_only=True)
class Made:
    """What is there now."""

    folder: Path
    rows: dict[str, int]
    """Split -> pairs."""
    statistics: dict[str, Any]


def make_pairs(recipe: PairsRecipe) -> Made | None:
    """Make the data set of a recipe; `None` on every worker but the first.

    Raises:
        UserError: whatever hinders it; what was made so far is kept.
    """
    worker = this_worker(gpus=recipe.settings.generation.tensor_parallel)
    folder, publishes = recipe.folder, recipe.settings.push_to_hub and worker.rank == 0
    if publishes:  # who may not write there is told now, and not when all is made
        check_destination(destination_of_pairs(recipe))
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with worker.lock(folder):
        prompts = read_prompts(recipe, lambda: _measure(recipe))
        if worker.rank == 0:
            _tell_prompts(prompts)
        scorer = recipe.settings.scorer
        check_scorer(scorer.name, revision=scorer.revision, **scorer.options)
        answers = draw_answers(recipe, prompts, worker)
        scores = score_answers(recipe, prompts, answers, worker)
        if worker.rank != 0:
            return None
        wait_until(lambda: all_there(recipe, prompts, answers) and all_there(recipe, prompts, scores))
        made = _finish(recipe, prompts, answers, scores)
        if publishes:
            _publish(recipe)
        return made


def _publish(recipe: PairsRecipe) -> None:
    wanted = destination_of_pairs(recipe)
    try:
        receipt = publish_pairs(recipe.folder, wanted)
    except UserError as error:
        rule, remedy = (
            f"are finished and safe in {recipe.folder}",
            f"push them later: make push-data RECIPE={recipe_word(recipe.path)}",
        )
        raise SetupError([*error.faults, Fault(key="the pairs", rule=rule, remedy=remedy)]) from error
    tell(receipt, wanted)


def _finish(recipe: PairsRecipe, prompts: Prompts, answers: Records, scores: Records) -> Made:
    """Select, and write what the selection gives, unless all of it is there."""
    folder, decides = recipe.folder, _decides(recipe, prompts)
    if (there := _made_before(folder, decides)) is not None:
        print(f"{folder} holds these pairs already.")
        return there
    statistics, with_pairs = Statistics(draws_of(recipe)), []
    for scored in selected(recipe, prompts, answers, scores):
        statistics.add(scored)
        if scored.selection.pairs:
            with_pairs.append(scored.prompt.id)
    facts = statistics.facts()
    if not with_pairs:
        raise DataError(_no_pair(facts))
    test = test_prompts(with_pairs, recipe.settings.test_size, recipe.settings.seed)
    with writing(folder):
        (folder / PAIRS_MANIFEST).unlink(missing_ok=True)
    rows = write_splits(
        folder, selected(recipe, prompts, answers, scores), test=test, as_text=prompts.facts["all_text"]
    )
    with writing(folder):
        draw_picture(folder, statistics)
        write_pairs_manifest(recipe, prompts, rows=rows, statistics=facts, decides=decides)
        _write_card(folder)
    return Made(folder=folder, rows=rows, statistics=facts)


def _decides(recipe: PairsRecipe, prompts: Prompts) -> str:
    """Digest of everything that decides the rows."""
    settings = recipe.settings
    return digest_of(
        {
            "prompts": prompts.folder.name,
            "draws": [draw.name for draw in draws_of(recipe)],
            "answers": answer_settings(recipe),
            "scores": score_settings(recipe),
            "selection": asdict(settings.selection),
            "split": [settings.test_size, settings.seed],
            "license": settings.license,
        }
    )


def _made_before(folder: Path, decides: str) -> Made | None:
    if not (folder / PAIRS_MANIFEST).is_file():
        return None
    manifest = read_pairs_manifest(folder)
    if manifest["decided_by"] != decides or changed_files(folder, manifest):
        return None
    return Made(folder=folder, rows=manifest["rows"], statistics=manifest["statistics"])


def _no_pair(statistics: dict[str, Any]) -> Fault:
    why = ", ".join(f"{count} x {reason}" for reason, count in statistics["after"]["prompts_without"].items())
    rule = f"leaves no pair of {statistics['before']['prompts']} prompts ({why})"
    return Fault(key="selection", rule=rule, remedy="loosen it; answers and scores are kept")


def _write_card(folder: Path) -> None:
    """Unless somebody has edited the one that is there."""
    path = folder / "README.md"
    if path.is_file() and edited_by_hand(path.read_text("utf-8")):
        print(f"{path} was edited by hand and stays as it is; its numbers may be those of earlier pairs.")
        return
    write_text(path, str(build_pairs_card(folder)))


def _measure(recipe: PairsRecipe) -> Measure:
    """Counts the tokens of a prompt as the model that answers reads it."""
    from alignment.modeling.load import load_tokenizer
    from alignment.scoring.tokens import encode_messages

    tokenizer = load_tokenizer(recipe.model, chat_template=recipe.settings.chat_template)
    return lambda prompt: len(encode_messages(prompt.messages, tokenizer, add_generation_prompt=True))


def _tell_prompts(prompts: Prompts) -> None:
    left_out = ", ".join(f"{count:,} {reason}" for reason, count in prompts.facts["left_out"].items())
    print(f"Prompts: {len(prompts):,} of {prompts.facts['rows']:,} rows{f' ({left_out})' if left_out else ''}")
    overlaps = prompts.facts.get("overlaps")
    if overlaps and overlaps["count"]:
        first = overlaps["examples"][0]
        what = f"{overlaps['count']:,} overlap evaluation prompts (action: {overlaps['action']})"
        print(f'  {what}, such as "{first["prompt"][:60]}", which shares "{first["shared"]}" with {first["against"]}')
