"""The page about a run, and the one that sets runs side by side: all of it there, escaped, and without a network."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from finished import finished_run

from alignment.cli.app import main
from alignment.errors import SetupError
from alignment.report.charts import Logged, figure
from alignment.report.curves import PANELS
from alignment.report.differences import differing_settings
from alignment.report.page import write_comparison, write_report


class Page(HTMLParser):
    """Titles, and whatever a browser would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.titles: list[str] = []
        self._within = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._within = tag
        self.fetched += [str(value) for name, value in attributes if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        if self._within == "h2" and data.strip():
            self.titles.append(data.strip())


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return finished_run(tmp_path / "run")


def change(folder: Path, **facts: object) -> None:
    path = folder / "run_manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


def test_a_report_has_every_section_and_fetches_nothing(run: Path) -> None:
    alarm = {"name": "loss-spike", "step": 10, "message": "the loss rose from 0.5 to <9.0>"}
    change(run, alarms=[alarm])
    page = Page(text := write_report(run).read_text(encoding="utf-8"))
    assert page.fetched == []
    assert page.titles[:3] == ["At a glance", "Warnings and alarms", "Results"]
    assert {"Curves", "Data", "Planned and measured", "Machine and software", "Recipe", "Command"} <= set(page.titles)
    assert "rose from 0.5 to &lt;9.0&gt;" in text and "<9.0>" not in text
    assert "gamma_beta_ratio" in text


def test_alarms_and_broken_values_are_marked_on_the_curves() -> None:
    history = [{"step": 1, "loss": 1.0}, {"step": 2, "loss": float("nan")}, {"step": 3, "loss": 0.5, "eval_loss": 0.7}]
    run = Logged(name="a", log_history=history, alarms=[{"name": "loss-spike", "step": 3, "message": ""}])
    drawn = figure(PANELS[0], [run])
    assert [(line.name, list(line.x), list(line.y)) for line in drawn.data] == [
        ("loss", [1, 2, 3], [1.0, None, 0.5]),
        ("loss (eval)", [3], [0.7]),
    ]
    marks = [(shape.x0, note.text) for shape, note in zip(drawn.layout.shapes, drawn.layout.annotations, strict=True)]
    assert marks == [(3, "loss-spike"), (2, "not finite")]


def test_runs_over_each_other_have_a_color_each() -> None:
    runs = [Logged(name=name, log_history=[{"step": 1, "rewards/chosen": 1, "rewards/rejected": 0}]) for name in "ab"]
    drawn = figure(PANELS[1], runs)
    styles = {line.name: (line.line.color, line.line.dash) for line in drawn.data}
    assert styles["a: chosen"][0] == styles["a: rejected"][0] != styles["b: chosen"][0]
    assert (styles["a: chosen"][1], styles["a: rejected"][1]) == ("solid", "dot")
    assert figure(PANELS[1], [Logged(name="a", log_history=[])]) is None


def test_only_settings_that_differ_are_compared() -> None:
    first = {"beta": 10, "lr": 1e-6, "mix": {"seed": 0, "names": ["a"]}, "output_dir": "a"}
    second = {"beta": 10, "lr": 5e-7, "mix": {"seed": 1, "names": ["a"]}, "output_dir": "b", "packing": True}
    assert differing_settings({"a": first, "b": second}) == [
        ("lr", "1e-06", "5e-07"),
        ("mix.seed", "0", "1"),
        ("packing", "-", "yes"),
    ]


def test_a_comparison_shows_settings_results_and_curves(run: Path, tmp_path: Path) -> None:
    other = finished_run(tmp_path / "other")
    recipe = json.loads((other / "run_manifest.json").read_text())["recipe"]
    change(other, recipe=recipe | {"beta": 3.25})
    text = write_comparison([run, other], tmp_path / "page.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.fetched == []
    assert page.titles == ["What the recipes say differently", "Results", "Curves", "Warnings and alarms"]
    assert "<td>3.25</td>" in text and re.search(r"run: loss", text) and re.search(r"other: loss", text)


def test_what_is_no_run_is_said_so(tmp_path: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SetupError, match="holds no finished run"):
        write_report(tmp_path / "empty")
    wrong = (
        ([str(run), str(tmp_path / "empty")], "holds no finished run"),
        ([str(run), str(tmp_path / "nowhere")], "neither the folder of a run nor a recipe"),
        ([str(run)], "two different"),
    )
    for words, said in wrong:
        with pytest.raises(SystemExit) as end:
            main("compare", words)
        assert end.value.code == 2 and said in capsys.readouterr().err
