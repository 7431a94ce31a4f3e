"""The card's view of `evaluation/results.json`: what was measured of these weights, beside the base model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from alignment.evaluation.published import published_models, published_row
from alignment.evaluation.results import FOLDER, outcomes_of
from alignment.evaluation.table import metric_rows
from alignment.modeling.weights_fingerprint import weights_fingerprint
from alignment.output.finished_run import FinishedRun
from alignment.output.folder import IDENTITY

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

TITLES = {
    "preferences": "Held-out preferences",
    "reward_model": "Reward model",
    "win_rate": "Win rate against the base model",
    "alpaca_eval": "AlpacaEval 2",
    "arena_hard": "Arena-Hard",
    "lm_eval": "Language model evaluation harness",
}


def benchmark_tables(run: FinishedRun) -> list[dict[str, Any]]:
    """`{"title", "columns", "rows": [(name, cells)], "notes"}` of each suite and what it was measured on."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for outcome in _outcomes(run):
        groups.setdefault((outcome["suite"], outcome["data"]), []).append(outcome)
    return [
        {
            "title": TITLES.get(suite, suite),
            "columns": [outcome["model"] for outcome in group],
            "rows": [(name, cells) for name, cells in metric_rows(group)],
            "notes": " ".join([_sentence(data, group), *_published(run, suite), *_notes(group)]),
        }
        for (suite, data), group in groups.items()
    ]


def benchmark_results(run: FinishedRun) -> Iterator[EvalResult]:
    """The headline metrics of the trained model, as model-index rows."""
    from huggingface_hub import EvalResult

    for outcome in outcomes_of(run.path / FOLDER, weights=[weights_fingerprint(run.path)]):
        title = TITLES.get(outcome["suite"], outcome["suite"])
        for metric in outcome["metrics"]:
            if metric["headline"]:
                yield EvalResult(
                    task_type="text-generation",
                    task_name=title,
                    dataset_type=re.sub(r"[^\w/.-]+", "-", outcome["data"]).strip("-"),
                    dataset_name=outcome["data"],
                    metric_type="accuracy" if "accuracy" in metric["name"] else "win_rate",
                    metric_name=metric["name"],
                    metric_value=round(metric["value"], 6),
                )


def _outcomes(run: FinishedRun) -> Sequence[Mapping[str, Any]]:
    """Those about the base model and about the trained one, as long as these are still the weights here."""
    ours = outcomes_of(run.path / FOLDER, weights=[weights_fingerprint(run.path)])
    measured = {(outcome["suite"], outcome["data"]) for outcome in ours}
    base = outcomes_of(run.path / FOLDER, weights=[_base_weights(run)])
    return [*(outcome for outcome in base if (outcome["suite"], outcome["data"]) in measured), *ours]


def _base_weights(run: FinishedRun) -> str | None:
    path = run.path / IDENTITY
    return json.loads(path.read_text("utf-8")).get("base_weights") if path.is_file() else None


def _sentence(data: str, group: Sequence[Mapping[str, Any]]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in group[-1]["versions"].items())
    return f"Measured on {data}; brackets are 95 % intervals ({versions})."


def _published(run: FinishedRun, suite: str) -> Iterator[str]:
    """What was published of models like these."""
    for model in published_models(run.manifest["model"]["base_model"], run.manifest["method"]):
        if found := published_row(model, suite):
            yield f"Published of {model}: {', '.join(f'{name} {value:g}' for name, value in found.items())}."


def _notes(group: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(note for outcome in group for note in outcome["notes"]))
