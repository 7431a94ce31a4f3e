"""global_batch_size = micro-batch x accumulation x processes, always, or a message with what would work."""

from __future__ import annotations

from pathlib import Path

import pytest

from alignment.errors import Fault, RecipeError
from alignment.recipe import load_recipe
from alignment.recipe.batch import Batch, batch_faults, plan_batch

DERIVED = [
    ({"global_batch_size": 128}, 8, Batch(2, 8)),
    ({"global_batch_size": 128}, 64, Batch(2, 1)),
    ({"global_batch_size": 128}, 128, Batch(1, 1)),
    ({"global_batch_size": 9}, 3, Batch(1, 3)),
    ({"global_batch_size": 128, "per_device_train_batch_size": 4}, 8, Batch(4, 4)),
    ({"global_batch_size": 128, "gradient_accumulation_steps": 4}, 8, Batch(4, 4)),
    ({"global_batch_size": 128, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 16}, 4, Batch(2, 16)),
    ({"per_device_train_batch_size": 3}, 4, None),
]


@pytest.mark.parametrize(("stated", "world_size", "expected"), DERIVED)
def test_what_is_not_stated_is_derived(stated: dict, world_size: int, expected: Batch | None) -> None:
    assert plan_batch(stated, world_size) == expected


REFUSED = [
    (
        {"global_batch_size": 128},
        3,
        "must be divisible by the 3 processes",
        "64 or 128 processes, or use global_batch_size 126 or 129",
    ),
    (
        {"global_batch_size": 2},
        3,
        "must be divisible by the 3 processes",
        "run 1 or 2 processes, or use global_batch_size 3",
    ),
    (
        {"global_batch_size": 16, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 8},
        2,
        "cannot be made of per_device_train_batch_size 2 x gradient_accumulation_steps 8 on 2 processes",
        "from 1 x 8, 2 x 4, 4 x 2, 8 x 1",
    ),
    ({"global_batch_size": 16, "per_device_train_batch_size": 16}, 2, "on 2 processes", "from 1 x 8"),
    (
        {"global_batch_size": 12, "gradient_accumulation_steps": 4},
        2,
        "gradient_accumulation_steps 4 on 2",
        "from 1 x 6",
    ),
]


@pytest.mark.parametrize(("stated", "world_size", "rule", "remedy"), REFUSED)
def test_what_cannot_work_says_what_would(stated: dict, world_size: int, rule: str, remedy: str) -> None:
    fault = plan_batch(stated, world_size)
    assert isinstance(fault, Fault) and rule in fault.rule and remedy in fault.remedy


def test_a_product_that_fits_no_number_of_processes_is_found_without_one() -> None:
    assert not list(batch_faults({"global_batch_size": 16, "per_device_train_batch_size": 4}))
    (fault,) = batch_faults({"global_batch_size": 16, "per_device_train_batch_size": 5})
    assert fault.rule == "must be a multiple of per_device_train_batch_size 5 = 5"


def test_the_recipe_refuses_when_it_learns_the_number_of_processes(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text("method: simpo\nmodel_name_or_path: a/b\ndataset_name: c/d\nglobal_batch_size: 16\n")
    recipe = load_recipe(path)
    with pytest.raises(RecipeError, match="global_batch_size 16 must be divisible by the 5 processes"):
        recipe.config(world_size=5)
    for world_size in (1, 2, 4, 8, 16):
        config = recipe.config(world_size=world_size)
        assert config.per_device_train_batch_size * config.gradient_accumulation_steps * world_size == 16
