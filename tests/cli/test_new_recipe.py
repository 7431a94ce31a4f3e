"""A recipe begun from another says what it changes, and is found, checked and listed like any other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from alignment.cli.app import main
from alignment.recipe import load_recipe


def ended(*words: str) -> int:
    with pytest.raises(SystemExit) as end:
        main(words[0], words[1:])
    return int(end.value.code or 0)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_holds_what_was_stated_and_shows_the_rest(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("new", "mine", "--from", "gemma2-simpo", "learning_rate=6e-7", "--save_total_limit", "2") == 0
    text = (here / "recipes/mine/config.yaml").read_text()
    assert yaml.safe_load(text) == {
        "extends": "gemma2-simpo",
        "output_dir": "outputs/mine",
        "learning_rate": 6e-7,
        "save_total_limit": 2,
    }
    assert "# beta: 10" in text and "# learning_rate" not in text
    recipe = load_recipe("mine")
    assert (recipe.training["learning_rate"], recipe.training["beta"]) == (6e-7, 10)
    assert ended("recipes", "mine") == 0
    assert "google/gemma-2-9b-it" in capsys.readouterr().out


def test_a_variant_goes_beside_its_recipe(here: Path) -> None:
    assert ended("new", "mine") == ended("new", "mine/hotter", "--from", "mine", "learning_rate=1e-6") == 0
    assert load_recipe("mine/hotter").training["learning_rate"] == 1e-6


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["mine", "learning_rat=1e-6"], "learning_rate"),
        (["../mine"], "cannot be the name of a recipe"),
        (["mine", "--from", "gema2-simpo"], "did you mean gemma2-simpo"),
    ],
)
def test_nothing_is_written_for_what_is_wrong(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert ended("new", *words) == 2
    assert said in capsys.readouterr().err
    assert not (here / "recipes").exists()


def test_a_recipe_is_never_written_over(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("new", "mine", "learning_rate=1e-6") == 0
    before = (here / "recipes/mine/config.yaml").read_text()
    assert ended("new", "mine") == 2
    assert "exists" in capsys.readouterr().err
    assert (here / "recipes/mine/config.yaml").read_text() == before


def test_all_words_must_fit(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended("recipes", "gemma2-dpo", "GOOGLE", "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows and all(row["name"].startswith("gemma2-dpo") and row["method"] == "dpo" for row in rows)
    assert ended("recipes", "no-such-word") == 2
