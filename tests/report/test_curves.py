from __future__ import annotations

import math
import struct
from pathlib import Path

import pytest

from alignment.report.curves import plot_curves, series

PREFERENCE = ["rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies", "logps/chosen"]


def history(*keys: str, steps: int = 3) -> list[dict[str, float]]:
    return [{"step": step, **{key: 0.5 / step for key in keys}} for step in range(1, steps + 1)]


def size(path: Path) -> tuple[int, int]:
    """Width and height of a PNG, from its header."""
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", content[16:24])


def test_a_series_is_ordered_and_the_last_value_of_a_step_wins():
    log = [{"step": 2, "loss": 1.0}, {"step": 1, "loss": 3}, {"step": 2, "loss": 0.5}, {"step": 3, "eval_loss": 9.0}]
    assert series(log, "loss") == ([1, 2], [3.0, 0.5])
    assert series(log, "eval_loss") == ([3], [9.0])
    assert series([*log, {"step": 4, "loss": "nan"}, {"loss": 7.0}], "loss") == ([1, 2], [3.0, 0.5])


@pytest.mark.parametrize(
    ("log", "panels"),
    [
        pytest.param(history("loss", "grad_norm", "learning_rate", *PREFERENCE), 6, id="preference"),
        pytest.param(history("loss", "mean_token_accuracy", "entropy", "grad_norm"), 4, id="supervised"),
        pytest.param(history("loss", steps=1), 1, id="one point"),
        pytest.param(history("eval_loss", "eval_rewards/chosen"), 2, id="evaluation only"),
        pytest.param(
            [*history("loss"), {"step": 4, "loss": math.nan}, {"step": 5, "loss": math.inf}], 1, id="diverged"
        ),
        pytest.param([{"step": 1, "loss": math.nan}], 1, id="never finite"),
    ],
)
def test_a_panel_is_drawn_for_each_thing_that_was_logged(log: list[dict], panels: int, tmp_path: Path):
    plot_curves(log, tmp_path / "curves.png", title="recipe · SimPO · model")
    columns = {1: 1, 2: 2, 4: 2}.get(panels, 3)
    rows = math.ceil(panels / columns)
    assert size(tmp_path / "curves.png") == (round(4.6 * columns * 120), round((3.1 * rows + 0.4) * 120))


def test_a_run_that_logged_nothing_still_leaves_a_picture(tmp_path: Path):
    plot_curves([{"step": 2, "train_runtime": 3.0}], tmp_path / "curves.png")
    assert size(tmp_path / "curves.png")[0] > 0


def test_the_picture_does_not_tell_when_it_was_drawn(tmp_path: Path):
    for name in ("a.png", "b.png"):
        plot_curves(history("loss"), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
