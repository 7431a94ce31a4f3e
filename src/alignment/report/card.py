"""The model card, from the files of a finished run alone: so it can be written anew when it is pushed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from alignment.files import write_text
from alignment.method import Method
from alignment.methods import METHODS
from alignment.output.finished_run import FinishedRun
from alignment.output.folder import CARD, CURVES, MANIFEST
from alignment.report import sections
from alignment.report.benchmarks import benchmark_results, benchmark_tables
from alignment.report.credits import DATASETS, MODELS, TRL, credit
from alignment.report.samples import sampled_answers
from alignment.report.seal import edited_by_hand, sealed

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

TEMPLATE = Path(__file__).parent.parent / "templates" / "model_card.md"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_EVAL_METRICS = {"rewards/accuracies": "accuracy", "loss": "loss", "mean_token_accuracy": "accuracy"}


def build_card(folder: Path, *, repository: str | None = None) -> ModelCard:
    """The card of the run in `folder`.

    Args:
        folder: `output_dir` of a finished run.
        repository: id on the Hub, such as `me/gemma-2-9b-it-SimPO`; the recipe's `hub_model_id`, or the run's
            name, when left out.

    Raises:
        SetupError: the folder holds no finished run.
    """
    from huggingface_hub import ModelCard

    run = FinishedRun(folder)
    method = METHODS[run.manifest["method"]]
    repository = repository or run.manifest["recipe"].get("hub_model_id") or run.manifest["name"].replace("/", "-")
    data = card_data(run, method, repository=repository)
    card = ModelCard.from_template(data, template_path=str(TEMPLATE), **_context(run, method, data, repository))
    return sealed(card, MANIFEST)


def renew_card(folder: Path) -> bool:
    """Write the card of a finished run anew from its files, unless somebody edited it; whether it was written."""
    path = folder / CARD
    finished = path.is_file() and (folder / MANIFEST).is_file()
    if not finished or edited_by_hand(path.read_text(encoding="utf-8")):
        return False
    write_text(path, str(build_card(folder)))
    return True


def card_data(run: FinishedRun, method: Method, *, repository: str) -> ModelCardData:
    """The metadata at the head of the card."""
    from huggingface_hub import ModelCardData

    model = run.manifest["model"]
    known = credit(model["base_model"], MODELS)
    extra: dict[str, Any] = {}
    if model["source"] != "local":
        extra["base_model_relation"] = "finetune"
    return ModelCardData(
        language=list(known.languages) or None,
        license=model.get("license") or known.license,
        library_name="transformers",
        pipeline_tag="text-classification" if method.reward_model else "text-generation",
        base_model=None if model["source"] == "local" else model["base_model"],
        datasets=_hub_datasets(run) or None,
        tags=[
            "alignment-handbook",
            method.name,
            *(["lora"] if run.manifest["recipe"].get("use_peft") else []),
            f"arxiv:{method.paper.arxiv}",
        ],
        model_name=repository.split("/")[-1],
        eval_results=[*_evaluation(run), *benchmark_results(run)] or None,
        **extra,
    )


def _context(run: FinishedRun, method: Method, data: ModelCardData, repository: str) -> dict[str, Any]:
    """The variables of the template."""
    base = run.manifest["model"]["base_model"]
    link = f"`{base}`" if data.base_model is None else f"[{base}](https://huggingface.co/{base})"
    results = sections.result_rows(run)
    stops = list(run.eos_tokens)
    return {
        "title": repository.split("/")[-1],
        "repository": repository,
        "summary": f"{link} trained with {method.title} by the recipe `{run.manifest['name']}`.",
        "at_a_glance": [
            *sections.glance_rows(run, link, data.license),
            *sections.tracking_rows(run),
        ],
        "scores": method.reward_model,
        "dtype": run.config.get("dtype") or "auto",
        "has_chat_template": run.has_chat_template,
        "stop_tokens": stops,
        "stop_list": json.dumps(stops, ensure_ascii=False),
        "stop_sentence": " or ".join(f"`{token}`" for token in stops),
        "method_title": method.title,
        "paper_title": method.paper.title,
        "paper_url": method.paper.url,
        "formula": method.formula,
        "formula_note": sections.formula_note(run, method),
        "data_rows": sections.data_rows(run, hub=set(_hub_datasets(run))),
        "data_sentence": sections.data_sentence(run),
        "hyperparameters": sections.hyperparameter_rows(run, method),
        "speed": sections.speed_rows(run),
        "has_curves": run.has(CURVES),
        "guards": list(sections.guard_lines(run)),
        "results": results,
        "evaluated": any(row["eval"] != "-" for row in results),
        "benchmarks": benchmark_tables(run),
        "sampled": sampled_answers(run.before_after) if run.before_after else None,
        "technical": sections.technical_rows(run),
        "versions": list(run.manifest["versions"].items()),
        "reproducibility": sections.reproducibility(run),
        "command": sections.command_line(run),
        "recipe_yaml": yaml.safe_dump(dict(run.manifest["recipe"]), sort_keys=False, allow_unicode=True).rstrip(),
        "citations": "\n\n".join(_citations(run, method)),
    }


def _hub_datasets(run: FinishedRun) -> list[str]:
    """Ids of the data sets that come from the Hub: those with a revision."""
    ids = [source["id"] for source in run.manifest["data"]["sources"] if source.get("revision")]
    return list(dict.fromkeys(name for name in ids if _HUB_ID.fullmatch(name)))


def _evaluation(run: FinishedRun) -> list[EvalResult]:
    """Held-out metrics as model-index rows; none when no evaluation ran or the data is not public."""
    from huggingface_hub import EvalResult

    sources = run.manifest["data"]["sources"]
    ids = {source["id"] for source in sources}
    if len(ids) != 1 or not ids <= set(_hub_datasets(run)):
        return []
    source = sources[-1]
    split = run.manifest["recipe"].get("dataset_test_split")
    return [
        EvalResult(
            task_type="text-generation",
            task_name="Held-out preference pairs" if key.startswith("rewards/") else "Held-out rows",
            dataset_type=source["id"],
            dataset_name=source["id"],
            dataset_config=source.get("config"),
            dataset_split=split,
            dataset_revision=source["revision"],
            metric_type=kind,
            metric_name=sections.METRICS[key],
            metric_value=round(run.results[f"eval_{key}"], 6),
        )
        for key, kind in _EVAL_METRICS.items()
        if f"eval_{key}" in run.results
    ]


def _citations(run: FinishedRun, method: Method) -> list[str]:
    """BibTeX of the base model, the method, the data sets and the library behind the trainer."""
    entries = [
        *credit(run.manifest["model"]["base_model"], MODELS).citations,
        method.paper.bibtex(f"{method.name}{method.paper.year}"),
    ]
    for source in run.manifest["data"]["sources"]:
        entries += credit(source["id"], DATASETS).citations
    if method.built_on_trl:
        entries.append(TRL)
    return list(dict.fromkeys(entries))
