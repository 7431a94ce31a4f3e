"""Arena-Hard of a model: answers to its questions, judged twice against the baseline's, the sides swapped."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alignment.data.fingerprint import digest_of
from alignment.evaluation.arena_files import ArenaFiles, as_judgment, read_files
from alignment.evaluation.arena_hard import score, share_of
from alignment.evaluation.context import Context
from alignment.evaluation.judging import Judge, Judged, Question, find_judge
from alignment.evaluation.outputs import check_servers, decoding, draw, identity, request
from alignment.evaluation.quality_metrics import quality_metrics, quality_notes
from alignment.evaluation.results import Metric, Outcome, mean_metric
from alignment.evaluation.subjects import Subject
from alignment.files import write_text
from alignment.generation.answers import Answer
from alignment.recipe.benchmark_settings import ArenaHardSuite

SUITE = "arena_hard"
JUDGMENTS = "judgments.jsonl"


def measure(context: Context, subjects: Sequence[Subject]) -> Iterator[tuple[Mapping[str, Any], Outcome]]:
    """The score of each model. Leaves `judgments.jsonl` in Arena-Hard's own format.

    Raises:
        SetupError: no files of the benchmark, judge or model. What was answered and judged is kept.
    """
    suite = context.settings.arena_hard or ArenaHardSuite()
    generation = suite.generation or context.settings.generation
    files = read_files(suite)
    judge = find_judge(context.settings.judge, model=files.judge, body=files.body)
    check_servers(subjects, generation)
    for subject in subjects:
        asked = {
            uid: request([{"role": "user", "content": text}], generation.seeds[0])
            for uid, text in files.questions.items()
        }
        drawn = draw(context, subject, SUITE, list(asked.values()), generation)
        answers = {uid: drawn[one.id] for uid, one in asked.items()}
        about = {"model": identity(subject, generation), **decoding(generation), **_judged_by(files, judge)}
        games, judged = _games(files, answers, judge, context.store(subject, f"{SUITE}/judgments", about))
        name = Path(subject.name).name
        rows = [as_judgment(files, uid, model=name, judge=judge.model, games=games[uid]) for uid in answers]
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_text(context.folder / subject.slug / SUITE / JUDGMENTS, text)
        yield (
            identity(subject, generation),
            _outcome(context, suite, subject, files, rows, list(answers.values()), judge, judged),
        )


def _games(
    files: ArenaFiles, answers: dict[str, Answer], judge: Judge, store: Any
) -> tuple[dict[str, list[dict[str, Any]]], Judged]:
    """Both games of every question: the baseline is A in the first, the model in the second."""
    questions: dict[tuple[str, int], Question] = {}
    for uid, answer in answers.items():
        sides = (files.baseline_answers[uid], answer.text)
        for number, (first, second) in enumerate((sides, sides[::-1])):
            messages = files.messages(uid, first, second)
            questions[uid, number] = Question(id=f"{digest_of(messages)[:20]}/{uid}/{number}", messages=messages)

    def read(kept: Any) -> str | None:
        verdict = files.verdict(kept["text"])
        return None if share_of(verdict) is None else verdict

    judged = judge.ask(list(questions.values()), store, read)
    return {
        uid: [
            {"score": judged.verdicts[one.id], "judgment": {"answer": judged.answers[one.id]["text"]}}
            for one in (questions[uid, 0], questions[uid, 1])
        ]
        for uid in answers
    }, judged


def _outcome(
    context: Context,
    suite: ArenaHardSuite,
    subject: Subject,
    files: ArenaFiles,
    rows: Sequence[dict[str, Any]],
    answers: Sequence[Answer],
    judge: Judge,
    judged: Judged,
) -> Outcome:
    found = score(rows, baseline=files.baseline)
    low, high = found["ci"]
    prompts = list(files.questions.values())
    notes = [f"Judged by {judge.model}; questions are resampled for the interval."]
    if judged.nonsense:
        left_out = len(rows) - found["n"]
        notes.append(
            f"{judged.nonsense} answers of the judge held no verdict; {left_out} of {len(rows)} questions do not count."
        )
    return Outcome(
        suite=SUITE,
        model=subject.label,
        data=f"Arena-Hard {suite.version}, {files.category}, {len(rows)} questions, against {files.baseline}",
        metrics=(
            Metric(name="score", value=found["score"], ci=(low, high), n=found["n"], unit="percent", headline=True),
            mean_metric("length", [len(answer.text) for answer in answers], "characters"),
            *quality_metrics(prompts, answers),
        ),
        settings={**asdict(suite), "generation": asdict(suite.generation or context.settings.generation)},
        versions=context.versions,
        notes=(*notes, *quality_notes(prompts, answers, None)),
        details={"judge": judge.about, "nonsense": judged.nonsense, "unjudged": judged.unjudged, **judged.usage},
    )


def _judged_by(files: ArenaFiles, judge: Judge) -> dict[str, Any]:
    prompts = digest_of([files.system_prompt, files.prompt_template])[:16]
    return {"benchmark": files.name, "prompts": prompts, "judge": judge.about}
