"""The order of cells, by numbers worked out by hand."""

from __future__ import annotations

from alignment.run.sweep.outcome import Outcome, best_of, ranked


def outcome(name: str, state: str = "done", **numbers: float) -> Outcome:
    return Outcome(name=name, settings=(("beta", name),), state=state, **numbers)  # type: ignore[arg-type]


def test_accuracy_then_margin() -> None:
    cells = [
        outcome("a", accuracy=0.7, margin=2.0, loss=0.5),
        outcome("b", accuracy=0.8, margin=1.0, loss=0.6),
        outcome("c", accuracy=0.8, margin=1.5, loss=0.9),
        outcome("d", state="collapsed"),
        outcome("e", state="failed"),
    ]
    assert [cell.name for cell in ranked(cells)] == ["c", "b", "a", "d", "e"]
    assert best_of(cells).name == "c"


def test_the_evaluation_comes_first_and_the_loss_last() -> None:
    assert best_of([outcome("a", measured=0.4, accuracy=0.9), outcome("b", measured=0.6, accuracy=0.5)]).name == "b"
    assert best_of([outcome("a", loss=1.2), outcome("b", loss=1.1)]).name == "b"
    assert best_of([outcome("a", accuracy=0.5, margin=1.0), outcome("b", accuracy=0.5, margin=1.0)]).name == "a"
    assert best_of([outcome("a", state="failed"), outcome("b", state="open")]) is None
