"""The card's view of `before_after.json`: what training did to the answers, measured and shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SHOWN = {"held-out": 4, "control": 2}
_LONGEST = 600
"""Characters of an answer on the card; the file has all of it."""


def sampled_answers(measured: Mapping[str, Any]) -> dict[str, Any]:
    """`{"sentence", "rows": [{"name", "before", "after"}], "samples": [{"prompt", "before", "after"}]}`."""
    before, after = measured["before"], measured["after"]
    rows = [_row("answers that keep the rule", _rate(before, "compliance"), _rate(after, "compliance"))]
    if (control := measured.get("control")) is not None:
        name = f"control facts right ({control['prompts']} prompts)"
        rows.append(_row(name, _rate(control["before"], "accuracy"), _rate(control["after"], "accuracy")))
    if (against := measured.get("win_rate")) is not None:
        rows.append(_row("wins against before, ties a half", "", _percent(against["win_rate"])))
        rows.append(_row("the same at equal length", "", _percent(against["length_controlled_win_rate"])))
    rows.append(_row("answers that the model ended itself", _share(before["finished"]), _share(after["finished"])))
    rows.append(_row("words per answer", f"{before['mean_words']:.0f}", f"{after['mean_words']:.0f}"))
    rows.append(_row("different answers to one prompt", _share(before["distinct"]), _share(after["distinct"])))
    return {
        "sentence": f"{measured['prompts']} held-out prompts, answered in the same way before and after training, "
        f"judged by one rule: {measured['rule']['summary']}. Brackets are 95 % intervals.",
        "rows": rows,
        "samples": [
            {key: _quoted(sample[key]) for key in ("prompt", "before", "after")}
            for kind, count in _SHOWN.items()
            for sample in [sample for sample in measured["samples"] if sample["kind"] == kind][:count]
        ],
    }


def _row(name: str, before: str, after: str) -> dict[str, str]:
    return {"name": name, "before": before, "after": after}


def _rate(side: Mapping[str, Any], key: str) -> str:
    low, high = side["ci"]
    return f"{side[key]:.2f} [{low:.2f}, {high:.2f}]"


def _percent(number: Mapping[str, Any]) -> str:
    low, high = number["ci"]
    return f"{number['value']:.0f} % [{low:.0f}, {high:.0f}]"


def _share(value: float) -> str:
    return f"{100 * value:.0f} %"


def _quoted(text: str) -> str:
    """One paragraph of a block quote, cut where it grows too long."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
