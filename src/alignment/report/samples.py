"""The card's view of `before_after.json`: what training did to the answers, measured and shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SHOWN = 4
_LONGEST = 600
"""Characters of an answer on the card; the file has all of it."""


def sampled_answers(measured: Mapping[str, Any]) -> dict[str, Any]:
    """`{"sentence", "rows": [{"name", "before", "after"}], "samples": [{"prompt", "before", "after"}]}`."""
    before, after = measured["before"], measured["after"]
    rows = [{"name": "share of answers that follow the rule", "before": _share(before), "after": _share(after)}]
    if (control := measured.get("control")) is not None:
        rows.append(
            {
                "name": "share of control questions answered rightly",
                "before": _share(control["before"]),
                "after": _share(control["after"]),
            }
        )
    samples = [{key: _quoted(sample[key]) for key in ("prompt", "before", "after")} for sample in measured["samples"]]
    return {
        "sentence": "Answers to held-out prompts, drawn in the same way before and after training and judged "
        "by the same rule; 95 % intervals in brackets.",
        "rows": rows,
        "samples": samples[:_SHOWN],
    }


def _share(side: Mapping[str, Any]) -> str:
    text = f"{side['compliance']:.2f}"
    interval = side.get("ci")
    return text if interval is None else f"{text} [{interval[0]:.2f}, {interval[1]:.2f}]"


def _quoted(text: str) -> str:
    """One paragraph of a block quote, cut where it grows too long."""
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
