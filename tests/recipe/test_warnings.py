"""Warnings before a run: what raises each, what does not, and how they are acknowledged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from test_shipped_recipes import RECIPES

from alignment.errors import RecipeError
from alignment.methods import METHODS
from alignment.recipe import load_recipe
from alignment.recipe.guards import AlarmSettings, acknowledged, alarm_settings
from alignment.recipe.warnings import WARNINGS, Facts, facts_of, judged, lines_of, with_rows_at_hand

RELEASED = Facts(
    method="simpo",
    pairs=True,
    adapters=False,
    dtype="float32",
    learning_rate=8e-7,
    warmup=0.1,
    schedule="cosine",
    epochs=1.0,
    logging_steps=5,
    loss_type="sigmoid",
    beta=10.0,
    gamma_beta_ratio=0.5,
    batch=128,
    steps=465,
    master_weights=False,
    header="<start_of_turn>model\n",
    rows=59_569,
    distinct_rows=59_569,
    evaluation_rows=1_941,
    seen_in_training=0,
    chosen_tokens=420.0,
    rejected_tokens=390.0,
)
"""The recipe of gemma-2-9b-it-SimPO."""

ARISES = {
    "high-learning-rate": {"learning_rate": 5e-6},
    "low-learning-rate": {"learning_rate": 1e-8},
    "lora-at-full-rate": {"adapters": True},
    "unusual-beta": {"beta": 0.1},
    "unusual-margin": {"gamma_beta_ratio": 5.0},
    "no-warmup": {"warmup": 0},
    "rounded-updates": {"dtype": "bfloat16"},
    "unusual-batch": {"batch": 16},
    "few-steps": {"steps": 99, "logging_steps": 1},
    "many-epochs": {"epochs": 4},
    "rare-logging": {"logging_steps": 100},
    "longer-chosen": {"chosen_tokens": 600.0},
    "no-generation-prompt": {"header": ""},
    "base-model": {"own_template": False},
    "evaluation-in-training": {"seen_in_training": 3},
    "repeated-rows": {"distinct_rows": 20_000},
}
QUIET = {
    "high-learning-rate": {"learning_rate": 4.9e-6},
    "lora-at-full-rate": {"adapters": True, "learning_rate": 5e-6},
    "unusual-beta": {"beta": 2.0},
    "unusual-margin": {"gamma_beta_ratio": 1.6},
    "no-warmup": {"warmup": 3},
    "rounded-updates": {"dtype": "bfloat16", "master_weights": True},
    "unusual-batch": {"batch": 32},
    "few-steps": {"steps": 100},
    "many-epochs": {"epochs": 3},
    "rare-logging": {"logging_steps": 0.01},
    "longer-chosen": {"chosen_tokens": 580.0},
    "base-model": {"own_template": True},
    "repeated-rows": {"distinct_rows": 30_000},
}


def names(facts: Facts) -> list[str]:
    return [warning.name for warning in judged(facts, ())]


def test_the_released_recipe_is_free_of_warnings() -> None:
    assert names(RELEASED) == []
    assert ARISES.keys() == WARNINGS.keys()


@pytest.mark.parametrize("name", ARISES)
def test_each_arises_by_itself(name: str) -> None:
    assert names(replace(RELEASED, **ARISES[name])) == [name]


@pytest.mark.parametrize("name", QUIET)
def test_what_is_near_the_usual_is_not_warned_of(name: str) -> None:
    assert names(replace(RELEASED, **QUIET[name])) == []


def test_what_is_not_known_yet_is_not_judged() -> None:
    unknown = replace(RELEASED, batch=None, steps=None, epochs=None, header=None, rows=None, chosen_tokens=None)
    assert names(unknown) == []


@pytest.mark.parametrize(
    ("method", "rate", "warned"),
    [("orpo", 8e-6, False), ("orpo", 5e-5, True), ("sft", 2e-5, False), ("dpo", 5e-6, True)],
)
def test_each_method_has_rates_of_its_own(method: str, rate: float, warned: bool) -> None:
    facts = replace(RELEASED, method=method, pairs=METHODS[method].data == "preference", learning_rate=rate, beta=None)
    assert ("high-learning-rate" in names(facts)) == warned


def test_the_evidence_has_the_figures() -> None:
    (warned,) = judged(replace(RELEASED, learning_rate=1e-5), ())
    assert "learning_rate 1e-05 is 10 times the highest rate" in warned.message and "2405.14734" in warned.message
    (warned,) = judged(replace(RELEASED, dtype="bfloat16"), ())
    assert "above 6.1e-05" in warned.message  # 2^-6 * 2^-7 / 2


def test_a_bf16_weight_moves_by_just_more_than_the_stated_update() -> None:
    import torch

    weight = torch.tensor(0.02, dtype=torch.bfloat16)
    assert weight + torch.tensor(2.0**-14 * 0.9).to(torch.bfloat16) == weight
    assert weight + torch.tensor(2.0**-14 * 1.1).to(torch.bfloat16) != weight


def test_acknowledged_warnings_are_recorded_and_not_told() -> None:
    facts = replace(RELEASED, warmup=0, epochs=4)
    known = ("no-warmup", "few-steps")
    warned = judged(facts, known)
    assert [(warning.name, warning.acknowledged) for warning in warned] == [("no-warmup", True), ("many-epochs", False)]
    lines = list(lines_of(warned, facts, known))
    assert lines[0].startswith("warning: many-epochs: every row is shown 4 times")
    assert lines[1:] == [
        "To go on without being warned, write acknowledge: [no-warmup, few-steps, many-epochs].",
        "acknowledge names few-steps, which does not arise.",
    ]
    unknown = replace(facts, steps=None)
    assert not any("does not arise" in line for line in lines_of(judged(unknown, known), unknown, known))


def test_a_check_knows_the_rows_at_hand() -> None:
    recipe = load_recipe("tiny/simpo")
    facts = facts_of(recipe.method, recipe.resolved)
    assert with_rows_at_hand(facts, {"data": None, "tokens": None}) == facts
    found = {
        "data": {"splits": {"train": {"rows": 18, "exact_duplicates": 10}}},
        "tokens": {"train": {"lengths": {"chosen": {"mean": 30.0}, "rejected": {"mean": 15.0}}}},
    }
    known = with_rows_at_hand(facts, found)
    assert known.steps == 5  # of 4 rows, the last of 2
    assert [name for name in names(known) if name not in names(facts)] == [
        "few-steps",
        "longer-chosen",
        "repeated-rows",
    ]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_shipped_recipes_are_free_of_warnings_or_say_why_not(path: Path) -> None:
    recipe = load_recipe(path)
    facts, known = facts_of(recipe.method, recipe.resolved), acknowledged(recipe.resolved)
    assert list(lines_of(judged(facts, known), facts, known)) == []
    stated = [line for line in path.read_text().splitlines() if line.startswith("acknowledge:")]
    assert all("#" in line for line in stated)


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(f"extends: tiny/simpo\n{text}")
    return path


def test_unknown_names_are_refused_with_the_nearest(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "acknowledge: [high-learning-rates]\nsample_every: 0\n"
        "alarms: {defalt: warn, loss-spike: halt, loss-spik: off}\n",
    )
    with pytest.raises(RecipeError) as error:
        load_recipe(path)
    told = str(error.value)
    assert "acknowledge high-learning-rates is no warning; did you mean high-learning-rate" in told
    assert "alarms.defalt warn is no alarm; did you mean default?" in told
    assert "alarms.loss-spike halt must be one of warn, stop, off" in told
    assert "alarms.loss-spik off is no alarm; did you mean loss-spike?" in told
    assert "sample_every 0 must be at least 1 step" in told


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", AlarmSettings()),
        ("alarms: off\n", AlarmSettings(default="off")),
        ("alarms: {default: stop, repetition: off}\n", AlarmSettings(default="stop", each={"repetition": "off"})),
        ("sample_every: 50\n", AlarmSettings(sample_every=50)),
    ],
)
def test_what_alarms_do_is_stated_for_all_or_for_each(tmp_path: Path, text: str, expected: AlarmSettings) -> None:
    assert alarm_settings(load_recipe(written(tmp_path, text)).resolved) == expected


def test_the_command_line_names_an_alarm(tmp_path: Path) -> None:
    recipe = load_recipe(written(tmp_path, ""), ["--alarms.loss-spike", "stop"])
    assert alarm_settings(recipe.resolved).action("loss-spike") == "stop"
    assert alarm_settings(recipe.resolved).action("repetition") == "warn"
