"""A file of prompts answered into a file of answers, by one model or by two side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignment.generation.answer_file import BASE, AnswerFile
from alignment.generation.answers import Answer
from alignment.generation.engine import Request
from alignment.generation.prompt_file import PromptRow, read_prompts
from alignment.generation.quality import Quality, quality
from alignment.terminal import counted

if TYPE_CHECKING:
    from alignment.generation.engine import Engine


def answer_prompts(
    prompts: Path, count: int, answers: AnswerFile, load: Callable[[], Engine], *, seed: int, prefix: str = ""
) -> None:
    """Draw the answers that are missing.

    Args:
        prompts: a file that `count_prompts` has found good.
        count: of its prompts.
        load: makes the engine; not called when nothing is missing.
        prefix: of the answers' columns.

    Raises:
        UserError: as `Engine.answers`; what was drawn is kept.
    """
    missing = count - sum(answers.has(row, prefix) for row in range(count))
    if not missing:
        return
    rows: dict[str, PromptRow] = {}

    def requests() -> Iterator[Request]:
        for row in read_prompts(prompts):
            if not answers.has(row.number, prefix):
                request = Request(id=f"row {row.number}", messages=row.messages, seed=seed)
                rows[request.id] = row
                yield request

    label = "Answers of the base model" if prefix == BASE else "Answers"
    with closing(load()) as engine, counted(label, missing, "answers") as advance:
        for request, answer in engine.answers(requests()):
            row = rows.pop(request.id)
            answers.add(row.number, answer, beside=row.row, prefix=prefix)
            advance(1)


def qualities(answers: AnswerFile) -> dict[str, Quality]:
    """What the answers of each model are like: by the prefix of its columns."""
    asked: dict[str, list[str]] = {}
    given: dict[str, list[Answer]] = {}
    for record in answers.records():
        for prefix in ("", BASE):
            if f"{prefix}answer" in record:
                asked.setdefault(prefix, []).append(_last_said(record))
                given.setdefault(prefix, []).append(
                    Answer(
                        text=record[f"{prefix}answer"],
                        finished=record[f"{prefix}finished"],
                        tokens=record[f"{prefix}tokens"],
                    )
                )
    return {prefix: quality(asked[prefix], given[prefix]) for prefix in given}


def _last_said(record: dict[str, Any]) -> str:
    said = record["prompt"] if record.get("prompt") is not None else record["messages"]
    return said if isinstance(said, str) else said[-1]["content"]
