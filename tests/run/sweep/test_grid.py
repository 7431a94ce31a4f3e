"""A grid is read and checked before anything is trained."""

from __future__ import annotations

import pytest

from alignment.errors import RecipeError
from alignment.run.sweep.execute import shares_of_gpus
from alignment.run.sweep.grid import Axis, cells_of, check_cells, parse_grid


def test_keys_and_values() -> None:
    (stage,) = parse_grid("learning_rate=3e-7,1e-6 'loss_type=sigmoid,hinge'")
    assert stage == (Axis("learning_rate", ("3e-7", "1e-6")), Axis("loss_type", ("sigmoid", "hinge")))
    names = [cell.name for cell in cells_of(stage)]
    assert names == [
        "learning_rate=3e-7,loss_type=sigmoid",
        "learning_rate=3e-7,loss_type=hinge",
        "learning_rate=1e-6,loss_type=sigmoid",
        "learning_rate=1e-6,loss_type=hinge",
    ]
    assert cells_of(stage)[3].overrides == ["--learning_rate=1e-6", "--loss_type=hinge"]


def test_a_comma_within_brackets_is_part_of_a_value() -> None:
    assert parse_grid("loss_type=[sigmoid,sft],[sigmoid]") == ((Axis("loss_type", ("[sigmoid,sft]", "[sigmoid]")),),)


def test_later_stages_keep_what_earlier_ones_decided() -> None:
    rate, ratio, beta = parse_grid("simpo")
    assert [stage[0].key for stage in (rate, ratio, beta)] == ["learning_rate", "gamma_beta_ratio", "beta"]
    assert cells_of(ratio, (("learning_rate", "5e-7"),))[0].overrides == [
        "--learning_rate=5e-7",
        "--gamma_beta_ratio=0.3",
    ]


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        ("", "names nothing to try"),
        ("simpoo", "did you mean simpo"),
        ("beta=", "has an empty key or value"),
        ("beta=1,,2", "has an empty key or value"),
        ("beta=1,1", "names a value twice"),
        ("beta=1 beta=2", "stands twice"),
        ("beta='1", "cannot be read"),
    ],
)
def test_what_is_no_grid_is_refused(grid: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        parse_grid(grid)


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        ("learning_rat=1e-6,2e-6", "did you mean learning_rate"),
        ("learning_rate=1e-6,fast", "learning_rate fast"),
        ("beta=1,-2", "beta -2"),
    ],
)
def test_every_combination_is_checked_first(grid: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said) as refused:
        check_cells("gemma2-simpo", [], parse_grid(grid))
    assert len(refused.value.faults) == 1


def test_gpus_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3,4,5,6,7")
    assert shares_of_gpus(2) == ["0,1,2,3", "4,5,6,7"]
    assert shares_of_gpus(1) == [None]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert shares_of_gpus(2) == [None, None]
