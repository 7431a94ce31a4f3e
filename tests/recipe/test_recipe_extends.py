"""`extends`: mappings merge, everything else is replaced, chains end, circles are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignment.errors import RecipeError
from alignment.recipe import load_recipe
from alignment.recipe.files import find_recipe, recipe_word
from alignment.recipe.loop_recipe import load_loop_recipe
from alignment.recipe.pairs_recipe import load_pairs_recipe

BASE = """\
method: simpo
model_name_or_path: some/model
dataset_name: some/data
beta: 2.0
learning_rate: 1e-6
gradient_checkpointing_kwargs: {use_reentrant: false, depth: 1}
report_to: [wandb, tensorboard]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "base.yaml").write_text(BASE)
    return tmp_path


def test_a_command_finds_a_recipe_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "recipes/mine").mkdir(parents=True)
    for place in ("base.yaml", "recipes/mine/config.yaml", "recipes/mine/lora.yaml", "config.yaml"):
        (folder / place).write_text(BASE)
    words = [recipe_word(find_recipe(source)) for source in ("base.yaml", "config.yaml", "mine", "mine/lora")]
    assert words == ["base.yaml", "config.yaml", "mine", "mine/lora"]


def test_a_chain_states_only_differences(folder: Path) -> None:
    (folder / "middle.yaml").write_text("extends: base.yaml\nbeta: 5\ngradient_checkpointing_kwargs: {depth: 2}\n")
    (folder / "deep").mkdir()
    (folder / "deep" / "top.yaml").write_text("extends: ../middle.yaml\nreport_to: [trackio]\nlearning_rate: 3e-7\n")
    recipe = load_recipe(folder / "deep" / "top.yaml", ["--gradient_checkpointing_kwargs.more", "3"])
    assert [path.name for path in recipe.files] == ["top.yaml", "middle.yaml", "base.yaml"]
    assert recipe.training["beta"] == 5 and recipe.training["learning_rate"] == 3e-7
    assert recipe.resolved["gradient_checkpointing_kwargs"] == {"use_reentrant": False, "depth": 2, "more": 3}
    assert recipe.resolved["report_to"] == ("trackio",)
    assert "extends" not in recipe.resolved
    assert recipe.name == "top"


def test_a_shipped_recipe_can_be_extended_by_name(folder: Path) -> None:
    (folder / "mine.yaml").write_text("extends: gemma2-simpo\nlearning_rate: 5e-7\n")
    recipe = load_recipe(folder / "mine.yaml")
    assert recipe.training["beta"] == 10 and recipe.training["learning_rate"] == 5e-7


def test_null_drops_what_another_method_has_not(folder: Path) -> None:
    """A margin of SimPO is nothing to SimPER; the word `gamma`, elsewhere a wrong name, is a key of RePO."""
    (folder / "margin.yaml").write_text("extends: base.yaml\nbeta: 2\ngamma_beta_ratio: 0.5\n")
    (folder / "mine.yaml").write_text("extends: margin.yaml\nmethod: simper\nbeta: null\n")
    with pytest.raises(RecipeError, match=r"gamma_beta_ratio 0.5 belongs to simpo and alphapo; .*\[margin.yaml:3\]"):
        load_recipe(folder / "mine.yaml")
    recipe = load_recipe(folder / "mine.yaml", ["--gamma_beta_ratio=null"])
    assert recipe.method == "simper" and not {"beta", "gamma_beta_ratio"} & {*recipe.resolved}
    others = ["--beta=null", "--gamma_beta_ratio=null", "--gamma", "0.6"]
    assert load_recipe(folder / "margin.yaml", ["--method=repo", *others]).training["gamma"] == 0.6
    with pytest.raises(RecipeError, match="gamma is not a recipe key; write gamma_beta_ratio"):
        load_recipe(folder / "margin.yaml", ["--gamma", "0.6"])


def test_null_drops_what_is_inherited(folder: Path) -> None:
    (folder / "mixed.yaml").write_text(
        "extends: base.yaml\ndataset_name: null\ndataset_mixture: {datasets: [{id: a/b}]}\n"
    )
    recipe = load_recipe(folder / "mixed.yaml")
    assert recipe.data.dataset_name is None and recipe.data.dataset_mixture is not None


def test_a_fault_names_the_file_that_states_it(folder: Path) -> None:
    (folder / "mine.yaml").write_text("extends: base.yaml\n\nmax_length: 100\nlearning_rate: x\n")
    (folder / "base.yaml").write_text(BASE + "gama: 1\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe(folder / "mine.yaml")
    sources = {fault.key: fault.source for fault in caught.value.faults}
    assert sources == {"learning_rate": "mine.yaml:4", "gama": "base.yaml:8", "max_length": "mine.yaml:3"}


def test_an_override_takes_the_blame_from_the_file(folder: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(folder / "base.yaml", ["--beta", "0"])
    assert [fault.source for fault in caught.value.faults] == ["command line"]


@pytest.mark.parametrize(("first", "second"), [("a.yaml", "a.yaml"), ("b.yaml", "a.yaml")])
def test_circles(folder: Path, first: str, second: str) -> None:
    (folder / "a.yaml").write_text(f"extends: {first}\n")
    (folder / "b.yaml").write_text(f"extends: {second}\n")
    with pytest.raises(RecipeError, match=r"extends must not lead back to itself: a\.yaml -> .*a\.yaml; break"):
        load_recipe(folder / "a.yaml")


BAD = [
    ("nowhere.yaml", r"extends nowhere\.yaml is not a file .*available:.*\[mine\.yaml:1\]"),
    ("gemma2-simp", r"extends gemma2-simp is not a recipe; did you mean gemma2-simpo\?"),
    ("[base.yaml]", "extends .* must be the name or path of one recipe"),
    ("''", "must be the name or path of one recipe"),
]


@pytest.mark.parametrize(("value", "expected"), BAD)
def test_bad_extends(folder: Path, value: str, expected: str) -> None:
    (folder / "mine.yaml").write_text(f"extends: {value}\n")
    with pytest.raises(RecipeError, match=expected):
        load_recipe(folder / "mine.yaml")


def test_a_recipe_of_another_command_is_told_by_its_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    for load in (load_pairs_recipe, load_loop_recipe):
        with pytest.raises(RecipeError, match=r"make train RECIPE=base\.yaml"):
            load("base.yaml")
