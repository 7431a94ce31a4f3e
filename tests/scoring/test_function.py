from __future__ import annotations

import itertools
import json
import subprocess
import sys

import pytest
from scored import conversations

from alignment.errors import DataError, SetupError
from alignment.scoring import load_scorer

MODULE = """
def words(conversation):
    return len(conversation[-1]["content"].split())

def longest_first(conversations):
    return [-len(conversation[-1]["content"].split()) for conversation in conversations]
longest_first.batched = True

def short(conversations):
    return [1.0]
short.batched = True

def broken(conversation):
    return {"The sun.": float("nan"), "The moon.": None, "The tree.": True}.get(conversation[-1]["content"], 1)

def raising(conversation):
    raise ValueError("no words")

limit = 3
"""
NUMBERS = itertools.count()


@pytest.fixture
def module(tmp_path, monkeypatch) -> str:
    """A module of the working directory, of a name that nothing has imported."""
    name = f"own_scorers_{next(NUMBERS)}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return name


def test_a_function_is_called_with_each_conversation(module):
    rows = conversations(4)
    assert load_scorer(f"{module}:words").score(rows) == [float(len(row[-1]["content"].split())) for row in rows]


def test_a_batched_function_is_called_with_all_of_them(module):
    rows = conversations(4)
    scorer = load_scorer(f"{module}:longest_first")
    assert scorer.score(rows) == [-float(len(row[-1]["content"].split())) for row in rows]
    assert scorer.score([]) == []


def test_what_is_no_finite_number_is_told_for_every_conversation(module):
    rows = conversations(4)
    for row, answer in zip(rows, ("The sun.", "Fine.", "The moon.", "The tree."), strict=True):
        row[-1]["content"] = answer
    with pytest.raises(DataError) as told:
        load_scorer(f"{module}:broken").score(rows)
    assert [fault.key for fault in told.value.faults] == ["conversation 0", "conversation 2", "conversation 3"]
    with pytest.raises(DataError, match="gave 1 scores for 4 conversations"):
        load_scorer(f"{module}:short").score(rows)
    with pytest.raises(DataError, match=r"conversation 0 could not be scored: .* raised ValueError: no words"):
        load_scorer(f"{module}:raising").score(rows)


def test_functions_that_are_not_there_are_told(module):
    with pytest.raises(SetupError, match="did you mean words"):
        load_scorer(f"{module}:wodrs")
    with pytest.raises(SetupError, match="limit is of type int"):
        load_scorer(f"{module}:limit")
    with pytest.raises(SetupError, match="cannot be imported: ModuleNotFoundError"):
        load_scorer("no_such_module.of_mine:words")
    with pytest.raises(SetupError, match="seed is no option of a function; it has none"):
        load_scorer(f"{module}:words", seed=1)


def test_a_function_needs_no_model_library(module, tmp_path):
    code = (
        "import sys, json; from alignment.scoring import load_scorer\n"
        f"print(json.dumps(load_scorer('{module}:words').score({conversations(1)!r})), 'torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    expected = [float(len(conversations(1)[0][-1]["content"].split()))]
    assert ran.stdout.strip() == f"{json.dumps(expected)} False", ran.stderr
