"""AlpacaEval's length-controlled win rate, by the `alpaca_eval` library and the files it takes from the Hub.

A generalized linear model explains each preference by the model, the difference in length and the difficulty of the
instruction; the win rate is what it predicts at equal lengths (Dubois et al. 2024, arXiv 2404.04475).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alignment.errors import SetupError, sentence_of
from alignment.evaluation.alpaca_library import length_controlled

REPOSITORY = "tatsu-lab/alpaca_eval"
"""Data set on the Hub."""
EVALUATION_SET = "alpaca_eval_gpt4_baseline.json"
"""The 805 instructions with the answers of the baseline."""
DIFFICULTIES = "df_gamed.csv"
"""Difficulty of each instruction, and the annotations that regularize the model."""
BASELINE = "gpt4_1106_preview"
"""What both files are about."""

_ENOUGH = 0.99
"""Share of the instructions that must be annotated; some published files lack one or two."""
_NEEDED = ("instruction", "output_1", "output_2", "generator_1", "generator_2")


def published_length_controlled(rows: Sequence[Mapping[str, Any]]) -> tuple[tuple[float, float] | None, str]:
    """Length-controlled win rate of annotations and its standard error, from 0 to 100, or `None` and why."""
    if missing := [column for column in _NEEDED if any(column not in row for row in rows)]:
        return None, f"some annotations have no {' and no '.join(missing)}"
    if rows[0]["generator_1"] != BASELINE:
        return None, f"it is known for the baseline {BASELINE} only, and this one is {rows[0]['generator_1']}"
    files = {name: _cached(name) for name in (EVALUATION_SET, DIFFICULTIES)}
    if absent := [name for name, path in files.items() if path is None]:
        return None, (
            f"it needs {' and '.join(absent)} of the data set {REPOSITORY}, not on this machine; while online, "
            "`make data` of a recipe with evaluation.alpaca_eval fetches them"
        )
    numbers = _numbers(Path(str(files[EVALUATION_SET])))
    if unknown := sum(row["instruction"] not in numbers for row in rows):
        return None, f"{unknown} of the instructions are not among AlpacaEval's {len(numbers)}"
    if len(rows) < _ENOUGH * len(numbers):
        return None, f"it is of all {len(numbers)} instructions, and {len(rows)} are annotated"
    try:
        return length_controlled([{**row, "index": numbers[row["instruction"]]} for row in rows]), ""
    except ValueError as error:
        return None, f"the library's fit fails: {sentence_of(error)}"
    except SetupError as error:
        return None, f"the library that computes it, {str(error.faults[0]).rstrip('.')}"


def _cached(name: str) -> str | None:
    """Where a file of the repository lies on this machine."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(REPOSITORY, name, repo_type="dataset")
    return found if isinstance(found, str) else None


def _numbers(path: Path) -> dict[str, int]:
    """The number of each instruction in the evaluation set."""
    return {row["instruction"]: number for number, row in enumerate(json.loads(path.read_text("utf-8")))}
