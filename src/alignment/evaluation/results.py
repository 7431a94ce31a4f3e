"""`evaluation/results.json`: every number with its interval, what it was measured on, with what, and of which model."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from alignment.errors import Fault, SetupError
from alignment.evaluation.interval import Z95, wilson
from alignment.redaction import write_portable

FOLDER = "evaluation"
FILE = "results.json"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One number."""

    name: str
    value: float
    ci: tuple[float, float] | None = None
    """95 % interval."""
    n: int | None = None
    """What it is a mean of."""
    unit: str = "share"
    """`share` (0 to 1), `percent` (0 to 100), or a word: `tokens`, `nats per token`, ..."""
    headline: bool = False
    """Whether it stands for the suite, in the card's metadata."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a suite found about one model."""

    suite: str
    model: str
    """Label of the model."""
    data: str
    """What it was measured on, in words."""
    metrics: tuple[Metric, ...]
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    notes: tuple[str, ...] = ()
    """What a reader must know: what was left out, and why."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Whatever else the suite knows."""


class Results:
    """The outcomes of a run's folder, one for each suite and model, written whenever one comes."""

    def __init__(self, folder: Path, *, recipe: str) -> None:
        self.path = folder / FILE
        content = read_results(folder) or {"recipe": recipe, "models": {}, "outcomes": []}
        self._content: dict[str, Any] = {**content, "recipe": recipe}

    def add(self, outcome: Outcome, identity: Mapping[str, Any]) -> None:
        """Keep an outcome in place of an earlier one of the same suite and model."""
        models = {**self._content["models"], outcome.model: dict(identity)}
        kept = [
            old
            for old in self._content["outcomes"]
            if (old["suite"], old["model"]) != (outcome.suite, outcome.model)
            and (old["model"] != outcome.model or self._content["models"].get(outcome.model) == dict(identity))
        ]
        self._content = {**self._content, "models": models, "outcomes": [*kept, asdict(outcome)]}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_portable(self.path, self._content)

    @property
    def outcomes(self) -> Sequence[Mapping[str, Any]]:
        """As they are in the file."""
        return self._content["outcomes"]


def read_results(folder: Path) -> dict[str, Any] | None:
    """What `results.json` holds; `None` where there is none.

    Raises:
        SetupError: it is damaged.
    """
    path = folder / FILE
    try:
        content = json.loads(path.read_text("utf-8"))
        found = {"models": dict(content["models"]), "outcomes": list(content["outcomes"])}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        fault = Fault(key=str(path), rule=f"is damaged: {error}", remedy="remove it; the suites write it anew")
        raise SetupError(fault) from error
    return {**content, **found}


def outcomes_of(folder: Path, *, weights: Sequence[str | None]) -> list[Mapping[str, Any]]:
    """The outcomes about the models with these fingerprints, in the order of the fingerprints."""
    content = read_results(folder) or {"models": {}, "outcomes": []}
    labels = {name: identity.get("weights") for name, identity in content["models"].items()}
    found = [(labels.get(outcome["model"]), outcome) for outcome in content["outcomes"]]
    return [outcome for wanted in weights for of, outcome in found if of is not None and of == wanted]


def share_metric(name: str, hits: Sequence[float], *, headline: bool = False) -> Metric:
    """A share of independent trials, with Wilson's interval."""
    value = fmean(hits)
    return Metric(name=name, value=value, ci=wilson(value, len(hits)), n=len(hits), headline=headline)


def mean_metric(name: str, values: Sequence[float], unit: str) -> Metric:
    """A mean with its normal interval; none of a single value."""
    value = fmean(values)
    half = Z95 * stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return Metric(
        name=name, value=value, ci=None if half is None else (value - half, value + half), n=len(values), unit=unit
    )
