"""What is worth knowing of a data set before it is trained on, as plain JSON types."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from alignment.data.duplicates import exact_duplicates
from alignment.data.languages import languages
from alignment.data.row_texts import RowPrompts, RowTexts
from alignment.data.token_check import ENDLESS, FULL, SAME
from alignment.data.token_rules import RewardRules, Rules, TokenRules

if TYPE_CHECKING:
    from datasets import Dataset
    from numpy.typing import NDArray

    from alignment.data.cache import PreparedRows
    from alignment.data.load import Splits
    from alignment.data.sources import SourceFacts

LANGUAGE_ROWS = 2000
"""Rows of a split whose language is told, evenly spread over it."""


def data_report(splits: Splits, *, margins: Mapping[str, Sequence[float | None]] | None = None) -> dict[str, Any]:
    """Of the rows as text, all of them but where `languages.rows` says otherwise.

    Args:
        splits: checked rows.
        margins: split -> for each row, how much better the chosen answer was judged, where that is known.
    """
    same = sum(facts.dropped.get(SAME, 0) for facts in splits.sources)
    return {
        "sources": [_source(facts) for facts in splits.sources],
        "chosen_equals_rejected": same if "chosen" in splits.train.column_names else None,
        "splits": {name: _split(rows, (margins or {}).get(name)) for name, rows in splits.parts.items()},
        "train_test_overlap": None if splits.test is None else _overlap(splits.train, splits.test),
    }


def token_report(prepared: PreparedRows, rules: Rules, *, of: int) -> dict[str, Any]:
    """Of the rows as tokens: how long they are, what truncation takes, and which answers do not end.

    Args:
        of: rows of the split; more than were tokenized when these are a sample.
    """
    statistics, findings = prepared.statistics, prepared.findings
    cut = {} if statistics is None else dict(statistics.cut)
    from_start = isinstance(rules, TokenRules | RewardRules) or rules.truncation_mode == "keep_start"
    return {
        "rows": findings.rows,
        "of": of,
        "lengths": {} if statistics is None else dict(statistics.lengths),
        "cut": cut,
        "end_lost": {part: rows if from_start else 0 for part, rows in cut.items() if part != "prompt"},
        "no_end": findings.dropped.get(ENDLESS, 0),
        "prompt_fills_max_length": findings.dropped.get(FULL, 0),
        "left_out": findings.dropped,
        "noted": dict(findings.noted),
    }


def spread(count: int, most: int) -> range:
    """At most so many of `count` rows, evenly spread, from the first on."""
    return range(0, count, max(1, -(-count // most)))


def _source(facts: SourceFacts) -> dict[str, Any]:
    return {
        "name": facts.name,
        "format": facts.format,
        "rows": facts.rows,
        "dropped": dict(facts.dropped),
        "unread": list(facts.unread),
    }


def _split(rows: Dataset, margins: Sequence[float | None] | None) -> dict[str, Any]:
    texts = RowTexts(rows)
    sampled = spread(len(rows), LANGUAGE_ROWS)
    return {
        "rows": len(rows),
        "exact_duplicates": len(exact_duplicates(texts.whole())),
        "identical_prompts": _identical(rows),
        "length_bias": _length_bias(rows, margins) if "chosen" in rows.column_names else None,
        "languages": {"rows": len(sampled), "counts": languages(texts[row] for row in sampled)},
    }


def _identical(rows: Dataset) -> dict[str, int]:
    """Prompts that several rows share, and those rows."""
    shared = [count for count in Counter(map(_digest, RowPrompts(rows))).values() if count > 1]
    return {"prompts": len(shared), "rows": sum(shared)}


def _overlap(train: Dataset, test: Dataset) -> dict[str, int]:
    """Rows of each split whose exact prompt the other split has, too."""
    ours, theirs = (list(map(_digest, RowPrompts(rows))) for rows in (train, test))
    both = set(ours) & set(theirs)
    return {"train_rows": sum(prompt in both for prompt in ours), "test_rows": sum(prompt in both for prompt in theirs)}


def _digest(prompt: str) -> int:
    return hash(prompt.strip())


def _length_bias(rows: Dataset, margins: Sequence[float | None] | None) -> dict[str, Any]:
    """How the lengths of answers, in characters, go with what is preferred.

    `preference_correlation` is Pearson's, over all answers, of length with being chosen; `score_correlation`, over the
    pairs whose scores are known, of the difference in length with that in score. Both are `None` where one of the two
    does not vary.
    """
    import numpy as np

    chosen, rejected = (answer_lengths(rows, side) for side in ("chosen", "rejected"))
    labels = np.repeat([1.0, 0.0], len(rows))
    known = [(at, margin) for at, margin in enumerate(margins or ()) if margin is not None]
    at = np.array([row for row, _ in known], dtype=np.int64)
    return {
        "chosen_longer": float(np.mean(chosen > rejected)),
        "rejected_longer": float(np.mean(chosen < rejected)),
        "mean_chosen": float(np.mean(chosen)),
        "mean_rejected": float(np.mean(rejected)),
        "preference_correlation": correlation(np.concatenate([chosen, rejected]), labels),
        "scored_rows": len(known),
        "score_correlation": correlation((chosen - rejected)[at], np.array([margin for _, margin in known])),
    }


def answer_lengths(rows: Dataset, side: str) -> NDArray[Any]:
    """[rows] Characters of each answer, which is one message."""
    import numpy as np
    import pyarrow.compute as pc

    lengths = [
        pc.utf8_length(pc.struct_field(table[side].combine_chunks().flatten(), "content")).to_numpy()
        for table in rows.select_columns([side]).with_format("arrow").iter(1000)
    ]
    return np.concatenate(lengths).astype(np.int64)


def correlation(left: NDArray[Any], right: NDArray[Any]) -> float | None:
    """Pearson's correlation; `None` of fewer than two values, or where one side does not vary."""
    import numpy as np

    if len(left) < 2 or np.ptp(left) == 0 or np.ptp(right) == 0:
        return None
    return float(np.corrcoef(left, right)[0, 1])
