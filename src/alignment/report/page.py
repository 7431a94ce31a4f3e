"""`report.html`: a run, or several side by side, on one page that needs no network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Literal

from alignment.files import write_text
from alignment.method import Method
from alignment.methods import METHODS
from alignment.output.finished_run import FinishedRun
from alignment.output.folder import PAGE
from alignment.report import sections
from alignment.report.benchmarks import benchmark_tables
from alignment.report.charts import Logged, charts
from alignment.report.differences import differing_settings, metric_table
from alignment.report.formatting import count, duration
from alignment.report.samples import sampled_answers

TEMPLATE = Path(__file__).parent.parent / "templates" / "report.html"


@dataclass(frozen=True, kw_only=True)
class Part:
    """One section of the page."""

    title: str
    kind: Literal["table", "charts", "list", "answers", "code"]
    content: Any
    """Rows of cells of a `table`, texts of `charts` and a `list`, `{"prompt", "before", "after"}` of `answers`, one
    text of `code`."""
    head: Sequence[str] = ()
    """Column titles of a table."""
    note: str = ""
    """A sentence above."""


def write_report(folder: Path) -> Path:
    """Write `report.html` into the folder of a finished or stopped run.

    Raises:
        SetupError: the folder holds no manifest of a run.
    """
    run = FinishedRun(folder)
    name = f"{run.manifest['name']}: {METHODS[run.manifest['method']].title}"
    path = folder / PAGE
    write_text(path, render(name, str(run.manifest["model"]["base_model"]), list(report_parts(run))))
    return path


def write_comparison(folders: Sequence[Path], path: Path) -> Path:
    """Write a page that sets runs side by side: what their recipes say differently, curves, metrics.

    Raises:
        SetupError: a folder holds no manifest of a run.
    """
    runs = {folder.name: FinishedRun(folder) for folder in folders}
    if len(runs) < len(folders):
        runs = {str(folder): FinishedRun(folder) for folder in folders}
    write_text(path, render("Comparison", ", ".join(runs), list(comparison_parts(runs))))
    return path


def render(title: str, subtitle: str, parts: Sequence[Part]) -> str:
    """The page. Text is escaped; what stands between backticks becomes code."""
    import jinja2
    from markupsafe import Markup, escape
    from plotly.offline import get_plotlyjs

    def marked(text: object) -> Markup:
        pieces = str(text).split("`")
        return Markup("").join(
            Markup("<code>{}</code>").format(piece) if at % 2 else escape(piece) for at, piece in enumerate(pieces)
        )

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["marked"] = marked
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    drawn = any(part.kind == "charts" for part in parts)
    return template.render(
        title=title,
        subtitle=subtitle,
        parts=parts,
        plotly=Markup(get_plotlyjs()) if drawn else "",
        written=date.today().isoformat(),
    )


def report_parts(run: FinishedRun) -> Iterator[Part]:
    """All sections of one run's page that it has something for."""
    import yaml

    manifest, method = run.manifest, METHODS[run.manifest["method"]]
    told = list(sections.guard_lines(run))
    yield Part(title="At a glance", kind="table", content=_glance(run, method))
    yield Part(title="Warnings and alarms", kind="list", content=told or ["None: nothing unusual was seen."])
    if results := sections.result_rows(run):
        rows = [(row["name"], row["train"], row["eval"]) for row in results]
        yield Part(title="Results", kind="table", head=("", "last training step", "held out"), content=rows)
    yield from _evaluation(run)
    if drawn := charts([logged(str(manifest["name"]), run)]):
        yield Part(title="Curves", kind="charts", content=drawn)
    if run.before_after is not None:
        yield from _answers(sampled_answers(run.before_after))
    yield Part(
        title="Data", kind="table", head=("source", "split", "revision", "rows", "weight"), content=_sources(run),
        note=sections.data_sentence(run),
    )  # fmt: skip
    yield Part(title="Planned and measured", kind="table", head=("", "planned", "measured"), content=_planned(run))
    yield Part(title="Speed and size", kind="table", content=sections.speed_rows(run))
    yield Part(title="Machine and software", kind="table", content=_machine(run))
    settings = yaml.safe_dump(dict(manifest["recipe"]), sort_keys=False, allow_unicode=True).rstrip()
    yield Part(title="Recipe", kind="code", content=settings)
    yield Part(title="Command", kind="code", content=sections.command_line(run))


def comparison_parts(runs: Mapping[str, FinishedRun]) -> Iterator[Part]:
    """All sections of a comparison; `runs` by the names that they are shown under."""
    names = list(runs)
    rows = differing_settings({name: run.manifest["recipe"] for name, run in runs.items()})
    note = "" if rows else "Their recipes are the same."
    yield Part(title="What the recipes say differently", kind="table", head=("", *names), content=rows, note=note)
    yield Part(
        title="Results", kind="table", head=("", *names), content=metric_table(runs),
        note="Brackets are 95 % intervals; what no run measured is left out.",
    )  # fmt: skip
    if drawn := charts([logged(name, run) for name, run in runs.items()]):
        yield Part(title="Curves", kind="charts", content=drawn)
    alarms = [f"{name}: {line}" for name, run in runs.items() for line in sections.guard_lines(run)]
    yield Part(title="Warnings and alarms", kind="list", content=alarms or ["None: nothing unusual was seen."])


def logged(name: str, run: FinishedRun) -> Logged:
    """What the charts need of a run."""
    return Logged(name=name, log_history=run.log_history, alarms=run.manifest.get("alarms", ()))


def _glance(run: FinishedRun, method: Method) -> sections.Rows:
    manifest = run.manifest
    rows = sections.glance_rows(run, str(manifest["model"]["base_model"]), manifest["model"].get("license"))
    stopped = manifest.get("stopped_by")
    state = [("state", f"stopped by the alarm {stopped}")] if stopped else []
    return [*state, *rows, *sections.hyperparameter_rows(run, method)]


def _evaluation(run: FinishedRun) -> Iterator[Part]:
    for table in benchmark_tables(run):
        rows = [(name, *cells) for name, cells in table["rows"]]
        head = ("", *table["columns"])
        yield Part(title=table["title"], kind="table", head=head, content=rows, note=table["notes"])


def _answers(told: Mapping[str, Any]) -> Iterator[Part]:
    rows = [(row["name"], row["before"], row["after"]) for row in told["rows"]]
    head = ("", "before", "after")
    yield Part(title="Answers before and after", kind="table", head=head, content=rows, note=told["sentence"])
    yield Part(title="Some of the answers", kind="answers", content=told["samples"])


def _sources(run: FinishedRun) -> list[tuple[str, ...]]:
    return [
        (row["link"].strip("`"), row["split"], row["revision"].strip("`"), row["rows"], row["weight"])
        for row in sections.data_rows(run, hub=set())
    ]


def _planned(run: FinishedRun) -> list[tuple[str, str, str]]:
    """What the run planned before its first step beside what it took."""
    manifest, timing = run.manifest, run.manifest["timing"]
    batch, peaks = manifest["batch"], run.logged("throughput/peak_memory_gib")
    steps = [entry["step"] for entry in run.log_history if "step" in entry]
    planned = batch.get("planned_activation_gb")
    seconds = timing.get("train_seconds")
    return [
        ("optimizer steps", count(manifest["optimization"]["optimizer_steps"]), count(max(steps, default=0))),
        ("memory", "-" if planned is None else f"{planned} GB of activations", _peak(peaks)),
        ("training time", "-", "-" if seconds is None else duration(seconds)),
    ]


def _peak(peaks: Sequence[float]) -> str:
    return f"{max(peaks):.1f} GiB at most in a process" if peaks else "-"


def _machine(run: FinishedRun) -> sections.Rows:
    return [*sections.technical_rows(run), *((name, str(number)) for name, number in run.manifest["versions"].items())]
