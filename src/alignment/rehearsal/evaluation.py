"""`sample_evaluation` in small: the recipe's own prompt files and rule, few prompts, short answers."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from alignment.evaluation.measure import prompt_rows
from alignment.recipe.sample_evaluation import SampleEvaluation

PROMPTS = 3


def shrunk_evaluation(evaluation: SampleEvaluation, folder: Path) -> dict[str, Any]:
    """The section as the rehearsal's recipe states it; its prompts are written to `folder`.

    Raises:
        DataError: a prompt file is missing or a row of it is malformed.
    """
    files = {"prompts": ("prompt",), "control_prompts": ("prompt", "expected")}
    paths = {
        key: _first_rows(Path(path), columns, folder / f"{key}.jsonl")
        for key, columns in files.items()
        if (path := getattr(evaluation, key)) is not None
    }
    most = {"samples_per_prompt": 2, "max_new_tokens": 8, "batch_size": 4, "show": 1}
    smaller = {key: min(value, getattr(evaluation, key)) for key, value in most.items()}
    return {**dataclasses.asdict(evaluation), **paths, **smaller}


def _first_rows(source: Path, columns: tuple[str, ...], target: Path) -> str:
    rows = prompt_rows(source, columns)[:PROMPTS]
    target.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(target)
