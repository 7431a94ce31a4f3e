"""The stages of a round: each a recipe in a file, run by its own command in a process of its own.

Such a recipe can be given to `make pairs`, `make train` or `make evaluate` by hand as well.
"""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from alignment.errors import Fault, Preempted, SetupError
from alignment.evaluation.results import FILE, FOLDER
from alignment.files import write_text
from alignment.output.folder import CARD
from alignment.recipe.frozen import thaw
from alignment.recipe.loop_recipe import LoopRecipe
from alignment.report.pairs_manifest import PAIRS_MANIFEST
from alignment.run.failure import RunFailed
from alignment.run.launch import WHY, die_with_parent

PAIRS, TRAIN, EVALUATE = STAGES = ("pairs", "train", "evaluate")


@dataclass(frozen=True, kw_only=True)
class Launchers:
    """Words before `-m alignment.cli ...` of each stage, as a shell has them; this Python when absent."""

    pairs: str = ""
    train: str = ""
    evaluate: str = ""

    def words(self, stage: str) -> list[str]:
        """Those of one stage."""
        return shlex.split(getattr(self, stage)) or [sys.executable]


@dataclass(frozen=True, kw_only=True)
class Round:
    """One round of a loop, and where its things lie."""

    recipe: LoopRecipe
    number: int
    """From 1 on."""

    def folder(self, stage: str) -> Path:
        """What a stage writes to; evaluation writes beside the model."""
        return self._of(self.number, TRAIN if stage == EVALUATE else stage)

    def file(self, stage: str) -> Path:
        """The recipe of a stage."""
        return self.recipe.folder / f"round-{self.number}" / f"{stage}.yaml"

    @property
    def suites(self) -> str:
        """Those that evaluate it."""
        return " ".join(self.recipe.settings.evaluate)

    def settings(self, stage: str) -> dict[str, Any]:
        """What the recipe of a stage states."""
        return {PAIRS: self._pairs, TRAIN: self._train, EVALUATE: self._evaluate}[stage]()

    def _pairs(self) -> dict[str, Any]:
        stated, own = self.recipe.stated[PAIRS], self.recipe.pairs.settings.prompts
        passed = (self.number - 1) * (own.max_rows or 0) if self.recipe.settings.prompts == "distinct" else 0
        prompts = {
            **stated.get("prompts", {}),
            "skip_rows": own.skip_rows + passed,
            "decontaminate": self._held_out(),
        }
        return {**stated, **self._model(follows=True), "prompts": prompts, "output_dir": str(self.folder(PAIRS))}

    def _train(self) -> dict[str, Any]:
        split = None if self.recipe.pairs.settings.test_size is None else "test"
        rows = {
            "dataset_name": str(self.folder(PAIRS)),
            **dict.fromkeys(("dataset_mixture", "dataset_config", "dataset_revision", "column_map", "selection")),
            "dataset_format": "auto",
            "dataset_train_split": "train",
            "dataset_test_split": split,
        }
        model = self._model(follows=self.recipe.settings.start_from == "previous")
        return {**self.recipe.stated[TRAIN], **rows, **model, "output_dir": str(self.folder(TRAIN))}

    def _evaluate(self) -> dict[str, Any]:
        """The base model is the loop's, and the data are those that are the same in every round."""
        return {**self.recipe.stated[TRAIN], "output_dir": str(self.folder(TRAIN))}

    def _model(self, *, follows: bool) -> dict[str, Any]:
        """The model of the round before, where one is there and wanted."""
        if not follows or self.number == 1:
            return {}
        return {"model_name_or_path": str(self._of(self.number - 1, TRAIN)), "model_revision": "main"}

    def _held_out(self) -> dict[str, Any] | None:
        """Prompts that measure the rounds are asked by none of them, whatever else the recipe keeps out."""
        stated = self.recipe.pairs.settings.prompts.decontaminate
        named = stated.sources if stated else ()
        sources = [{key: value for key, value in asdict(each).items() if value} for each in named]
        known = {source["id"] for source in sources}
        train = self.recipe.train
        sampled = train.sample_evaluation
        files = [sampled.prompts, sampled.control_prompts] if sampled else []
        if train.evaluation is not None and train.evaluation.win_rate is not None:
            files.append(train.evaluation.win_rate.prompts)
        sources += [{"id": path} for path in dict.fromkeys(filter(None, files)) if path not in known]
        if not sources:
            return None
        own = {"ngram": stated.ngram, "action": stated.action} if stated else {"action": "drop"}
        return {"against": sources, **own}

    def _of(self, number: int, stage: str) -> Path:
        return self.recipe.folder / f"round-{number}" / stage

    def done(self, stage: str) -> bool:
        """Whether a stage has left its last file."""
        if stage == EVALUATE:
            return (self.folder(EVALUATE) / FOLDER / FILE).is_file()
        return (self.folder(stage) / (PAIRS_MANIFEST if stage == PAIRS else CARD)).is_file()


def run_stage(at: Round, stage: str, launchers: Launchers) -> None:
    """Run a stage to its end; what it did before is kept by itself.

    Raises:
        SetupError: it ended by a mistake that it has told.
        RunFailed: it ended in another way.
        Preempted: it was told to stop, and what it did is saved.
    """
    file = at.file(stage)
    write_recipe(file, at.settings(stage))
    words = [*launchers.words(stage), "-m", "alignment.cli", stage, "--config", str(file)]
    if stage == EVALUATE:
        words += ["--suite", at.suites]
    code, told_to_stop = _run(words)
    where = f"round {at.number}, {stage}"
    if code == 0 and (told_to_stop or not at.done(stage)):
        raise Preempted(f"{where} was told to stop, and what it did is saved.")
    if code == 2:
        rule = f"ended as told above{_alarm(at, stage)}; what was finished is kept"
        remedy = f"mend it, and give the same command again; the recipe of this stage is {file}"
        raise SetupError(Fault(key=where, rule=rule, remedy=remedy), where=at.recipe.name)
    if code in (130, -signal.SIGINT):
        raise KeyboardInterrupt
    if code != 0:
        name = signal.Signals(-code).name if code < 0 else ""
        how = f"was ended by {name}.{WHY.get(name, '')}" if name else f"ended with exit code {code}."
        raise RunFailed(f"{where} {how} What was finished is kept; the same command goes on.")


def write_recipe(path: Path, settings: Mapping[str, Any]) -> None:
    """Write the recipe of a stage."""
    import yaml

    path.parent.mkdir(parents=True, exist_ok=True)
    about = "# Written by `make loop`; every key that is not stated is that of the recipe that it extends.\n\n"
    write_text(path, about + yaml.safe_dump(thaw(settings), sort_keys=False, allow_unicode=True))


def _run(words: Sequence[str]) -> tuple[int, bool]:
    """The exit code of a process that ends with this one, and whether this one was told to stop meanwhile."""
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True
        child.terminate()

    print(f"\n$ {shlex.join(words)}", flush=True)
    child = subprocess.Popen(words, preexec_fn=die_with_parent if sys.platform == "linux" else None)
    before = signal.signal(signal.SIGTERM, stop)
    try:
        return child.wait(), stopped
    except KeyboardInterrupt:  # the terminal has told the child as well
        child.wait()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)


def _alarm(at: Round, stage: str) -> str:
    """Which alarm stopped a training, where one did."""
    from alignment.output.finished_run import FinishedRun

    run = FinishedRun(at.folder(stage))
    name = run.manifest.get("stopped_by") if stage == TRAIN and run.has("run_manifest.json") else None
    return f", stopped by the alarm {name}" if name else ""
