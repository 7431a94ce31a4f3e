"""What the stages of a round found, read from the files that they left."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from alignment.evaluation.results import FOLDER, read_results
from alignment.evaluation.subjects import BASE, TRAINED
from alignment.output.finished_run import FinishedRun
from alignment.report.pairs_manifest import read_pairs_manifest

Number = Mapping[str, Any]
"""`value`, `ci` (two numbers or null) and `unit` (`share`, `percent` or a word)."""


def pairs_facts(folder: Path) -> dict[str, Any]:
    """Pairs of each split, and what became of the prompts."""
    manifest = read_pairs_manifest(folder)
    after = manifest["statistics"]["after"]
    return {
        "train": manifest["rows"].get("train", 0),
        "test": manifest["rows"].get("test", 0),
        "prompts": manifest["prompts"]["prompts"],
        "prompts_left_out": manifest["prompts"]["left_out"],
        "prompts_without": after["prompts_without"],
    }


def training_facts(folder: Path) -> dict[str, Any]:
    """Answers before and after training, where they were measured, and the alarms."""
    run = FinishedRun(folder)
    alarms = [alarm["name"] for alarm in run.manifest.get("alarms") or ()]
    answers = run.before_after
    return {"alarms": alarms, **({when: _answers(answers, when) for when in ("before", "after")} if answers else {})}


def _answers(record: Mapping[str, Any], when: str) -> dict[str, Number]:
    found = record[when]
    numbers = {"answers that keep the rule": _number(found["compliance"], found["ci"], "share")}
    if "control" in record:
        control = record["control"][when]
        numbers["control facts right"] = _number(control["accuracy"], control["ci"], "share")
    numbers["answers ended by the model"] = _number(found["finished"], None, "share")
    numbers["words"] = _number(found["mean_words"], None, "words")
    return numbers


def evaluation_facts(folder: Path) -> dict[str, Any]:
    """The headline numbers of each suite, of the base and of the trained model."""
    outcomes = (read_results(folder / FOLDER) or {"outcomes": []})["outcomes"]
    return {
        when: {
            f"{outcome['suite']}: {metric['name']}": _number(metric["value"], metric["ci"], metric["unit"])
            for outcome in outcomes
            if outcome["model"] == model
            for metric in outcome["metrics"]
            if metric["headline"]
        }
        for when, model in (("before", BASE), ("after", TRAINED))
    }


def _number(value: float, ci: Any, unit: str) -> Number:
    return {"value": value, "ci": ci, "unit": unit}


def series(rounds: list[dict[str, Any]]) -> dict[str, dict[int, Number]]:
    """Every number by its name and round; round 0 is the base model."""
    found: dict[str, dict[int, Number]] = {}
    for facts in rounds:
        for stage in ("train", "evaluate"):
            for at, when in ((0, "before"), (facts["round"], "after")):
                if at or facts["round"] == 1:
                    for name, number in facts.get(stage, {}).get(when, {}).items():
                        found.setdefault(name, {})[at] = number
    return found
