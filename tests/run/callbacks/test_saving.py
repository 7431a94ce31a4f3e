"""Saves by the clock, and none after the last step."""

from __future__ import annotations

from pathlib import Path

import pytest
from datasets import Dataset
from test_stopping import Square
from transformers import Trainer, TrainerControl, TrainerState, TrainingArguments

from alignment.errors import RecipeError
from alignment.recipe import load_recipe
from alignment.run.callbacks.saving import SaveSchedule


def checkpoints(tmp_path: Path, callback: SaveSchedule, **changes: object) -> list[int]:
    """Steps of the checkpoints that a run of six steps in two epochs leaves."""
    settings = {"num_train_epochs": 2, "per_device_train_batch_size": 4, "save_strategy": "no", "report_to": "none"}
    args = TrainingArguments(str(tmp_path), use_cpu=True, disable_tqdm=True, **{**settings, **changes})
    Trainer(Square(), args, train_dataset=Dataset.from_dict({"x": [1.0] * 12}), callbacks=[callback]).train()
    return sorted(int(folder.name.removeprefix("checkpoint-")) for folder in tmp_path.glob("checkpoint-*"))


def test_the_clock_saves_and_counts_from_its_last_save(tmp_path: Path):
    """The clock goes forward 40 s whenever it is read: twice at the start, once a step and once a save.

    Saves fall due at 60 s: begin 40; step 1 at 80 (40 s since); step 2 at 120 (80 s): saved, mark 160; step 3 at 200;
    step 4 at 240: saved, mark 280; step 5 at 320; step 6 would be due, and is the last.
    """
    seconds = iter(range(0, 10_000, 40))
    assert checkpoints(tmp_path, SaveSchedule(1.0, now=lambda: next(seconds))) == [2, 4]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"save_strategy": "steps", "save_steps": 2}, [2, 4]),
        ({"save_strategy": "steps", "save_steps": 4}, [4]),
        ({"save_strategy": "epoch"}, [3]),
        ({"save_strategy": "no"}, []),
    ],
)
def test_the_last_step_leaves_no_checkpoint_beside_the_final_model(tmp_path: Path, changes, expected):
    assert checkpoints(tmp_path, SaveSchedule(None), **changes) == expected


@pytest.mark.parametrize("best", [True, False])
def test_the_last_step_is_saved_where_it_may_be_the_best(tmp_path: Path, best: bool):
    args = TrainingArguments(str(tmp_path), use_cpu=True, eval_strategy="steps", load_best_model_at_end=best)
    control = TrainerControl(should_save=True)
    SaveSchedule(None).on_step_end(args, TrainerState(global_step=6, max_steps=6), control)
    assert control.should_save == best


def test_a_recipe_saves_by_time_or_by_steps():
    stated = load_recipe("gemma2-simpo", ["--save_every_minutes", "20"])
    assert stated.resolved["save_every_minutes"] == 20
    assert stated.config(world_size=8).save_strategy == "no"
    with pytest.raises(RecipeError, match="save_steps 100 contradicts save_every_minutes 20"):
        load_recipe("gemma2-simpo", ["--save_every_minutes", "20", "--save_steps", "100"])
    by_steps = load_recipe("gemma2-simpo", ["--save_every_minutes", "null", "--save_steps", "100"])
    assert by_steps.config(world_size=8).save_strategy == "steps"
