"""AlpacaEval 2 of a model: answers to its instructions, judged against the baseline's by its own annotator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alignment.data.fingerprint import digest_of
from alignment.errors import DataError, Fault
from alignment.evaluation.alpaca_eval import raw_win_rate
from alignment.evaluation.alpaca_library import Annotator, quiet
from alignment.evaluation.context import Context, installed
from alignment.evaluation.interval import Z95
from alignment.evaluation.judging import Judge, Judged, Question, find_judge
from alignment.evaluation.length_control import EVALUATION_SET, REPOSITORY, published_length_controlled
from alignment.evaluation.outputs import check_servers, decoding, draw, identity, request
from alignment.evaluation.quality_metrics import quality_metrics, quality_notes
from alignment.evaluation.results import Metric, Outcome, mean_metric
from alignment.evaluation.rows import placed_rows
from alignment.evaluation.subjects import Subject
from alignment.files import write_json
from alignment.generation.answers import Answer
from alignment.hub.downloads import fetch_dataset_file
from alignment.recipe.benchmark_settings import AlpacaEvalSuite

SUITE = "alpaca_eval"
KEY = "evaluation.alpaca_eval.evaluation_set"
OUTPUTS, ANNOTATIONS = "model_outputs.json", "annotations.json"

Rows = list[dict[str, Any]]


def measure(context: Context, subjects: Sequence[Subject]) -> Iterator[tuple[Mapping[str, Any], Outcome]]:
    """Win rate and length-controlled win rate of each model.

    Leaves `model_outputs.json` and `annotations.json` in AlpacaEval's own format.

    Raises:
        SetupError: no library, judge, model or evaluation set. What was answered and judged is kept.
    """
    suite = context.settings.alpaca_eval or AlpacaEvalSuite()
    generation = suite.generation or context.settings.generation
    annotator = Annotator(suite.annotator)
    judge = find_judge(context.settings.judge, model=annotator.model, body=annotator.body)
    asked = evaluation_set(suite)
    check_servers(subjects, generation)
    for subject in subjects:
        requests = [request([{"role": "user", "content": row["instruction"]}], generation.seeds[0]) for row in asked]
        drawn = draw(context, subject, SUITE, requests, generation)
        answers = [drawn[one.id] for one in requests]
        rows = pairs_of(asked, answers, generator=Path(subject.name).name, annotator=suite.annotator)
        folder = context.folder / subject.slug / SUITE
        write_json(folder / OUTPUTS, [_output(row, given) for row, given in zip(rows, asked, strict=True)])
        about = {"model": identity(subject, generation), **decoding(generation), **_judged_by(suite, judge)}
        judged = annotate(rows, annotator, judge, context.store(subject, f"{SUITE}/judgments", about))
        write_json(folder / ANNOTATIONS, rows)
        yield identity(subject, generation), _outcome(context, suite, subject, rows, answers, judge, judged)


def evaluation_set(suite: AlpacaEvalSuite) -> list[Mapping[str, Any]]:
    """What is asked, with the baseline's answers.

    Raises:
        DataError: the file holds something else.
        SetupError: the library's own is neither in the cache nor on the Hub.
    """
    source = suite.evaluation_set or fetch_dataset_file(REPOSITORY, EVALUATION_SET, key=KEY)
    placed = placed_rows(source, key=KEY)[: suite.max_instructions]
    needed = ("instruction", "output", "generator")
    faults = [
        Fault(key=place, rule=f"must have {', '.join(needed)}, as texts")
        for place, row in placed
        if not all(isinstance(row.get(name), str) for name in needed)
    ]
    if faults:
        raise DataError(faults)
    return [row for _, row in placed]


def pairs_of(asked: Sequence[Mapping[str, Any]], answers: Sequence[Answer], *, generator: str, annotator: str) -> Rows:
    """Annotations still without a preference: the baseline is output 1, the model output 2."""
    return [
        {
            "instruction": given["instruction"],
            "output_1": given["output"],
            "generator_1": given["generator"],
            "dataset": given.get("dataset"),
            "output_2": answer.text,
            "generator_2": generator,
            "annotator": annotator,
            "preference": None,
        }
        for given, answer in zip(asked, answers, strict=True)
    ]


def annotate(rows: Rows, annotator: Annotator, judge: Judge, store: Any) -> Judged:
    """Give each row its preference. Equal outputs are a tie and cost nothing, as in the library."""
    open_rows = []
    for row in rows:
        if row["output_1"] == row["output_2"]:
            row["preference"] = 1.5
        else:
            open_rows.append(row)
    if not open_rows:
        return Judged(verdicts={}, answers={}, nonsense=0, usage={})
    asked = [Question(id=digest_of(messages)[:24], messages=messages) for messages in annotator.questions(open_rows)]
    with quiet():
        judged = judge.ask(asked, store, annotator.verdict)
    answers = [None if judged.verdicts[one.id] is None else judged.answers[one.id] for one in asked]
    for row, preference in zip(open_rows, annotator.preferences(open_rows, answers), strict=True):
        row["preference"] = preference
    return judged


def _outcome(
    context: Context,
    suite: AlpacaEvalSuite,
    subject: Subject,
    rows: Rows,
    answers: Sequence[Answer],
    judge: Judge,
    judged: Judged,
) -> Outcome:
    rate, error, count = raw_win_rate([(f"annotation {number}", row) for number, row in enumerate(rows, 1)])
    prompts = [row["instruction"] for row in rows]
    metrics = [_percent("win rate", rate, error, count)]
    controlled, reason = published_length_controlled(rows)
    if controlled is not None:
        metrics.insert(0, _percent("length-controlled win rate", *controlled, count))
    notes = [f"Judged by {judge.model}.", *([f"No length-controlled win rate: {reason}."] if reason else [])]
    if judged.nonsense:
        notes.append(
            f"{judged.nonsense} answers of the judge held no preference; {judged.unjudged} pairs do not count."
        )
    return Outcome(
        suite=SUITE,
        model=subject.label,
        data=f"AlpacaEval, {len(rows)} instructions, against {rows[0]['generator_1']}, by {suite.annotator}",
        metrics=(
            *metrics,
            mean_metric("length", [len(answer.text) for answer in answers], "characters"),
            *quality_metrics(prompts, answers),
        ),
        settings={**asdict(suite), "generation": asdict(suite.generation or context.settings.generation)},
        versions={**context.versions, **installed("alpaca_eval")},
        notes=(*notes, *quality_notes(prompts, answers, None)),
        details={"judge": judge.about, "nonsense": judged.nonsense, "unjudged": judged.unjudged, **judged.usage},
    )


def _percent(name: str, value: float, error: float | None, n: int) -> Metric:
    ci = None if error is None else (value - Z95 * error, value + Z95 * error)
    return Metric(name=name, value=value, ci=ci, n=n, unit="percent", headline=True)


def _output(row: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "dataset": given.get("dataset"),
        "instruction": row["instruction"],
        "output": row["output_2"],
        "generator": row["generator_2"],
    }


def _judged_by(suite: AlpacaEvalSuite, judge: Judge) -> dict[str, Any]:
    return {"annotator": suite.annotator, "judge": judge.about, "alpaca_eval": installed("alpaca_eval")["alpaca_eval"]}
