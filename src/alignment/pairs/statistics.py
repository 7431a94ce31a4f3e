"""What a data set of pairs is like, before and after selection, gathered prompt by prompt."""

from __future__ import annotations

import statistics
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from alignment.data.selection import WHY_NONE
from alignment.pairs.generate import Draw
from alignment.pairs.select import Scored


def _numbers() -> array[float]:
    return array("d")


@dataclass
class _DrawCounts:
    """Of one draw, over all prompts."""

    chosen: int = 0
    rejected: int = 0
    unfinished: int = 0
    scores: array[float] = field(default_factory=_numbers)
    characters: int = 0


class Statistics:
    """Takes eight bytes for each number that a picture needs."""

    def __init__(self, draws: Sequence[Draw]) -> None:
        self.draws = draws
        self.by_draw = [_DrawCounts() for _ in draws]
        self.spreads = _numbers()
        """Best minus worst score of each prompt."""
        self.leads = _numbers()
        """Score of chosen minus that of rejected, of each pair."""
        self.chosen_lengths = _numbers()
        """Characters, of each pair."""
        self.rejected_lengths = _numbers()
        self.why_none: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()

    def add(self, scored: Scored) -> None:
        """Count one prompt."""
        counts = self._counts
        counts["prompts"] += 1
        counts["answers"] += len(scored.texts)
        counts["tokens"] += sum(scored.tokens)
        counts["empty"] += sum(not text.strip() for text in scored.texts)
        counts["identical"] += len(set(scored.texts)) == 1
        self.spreads.append(max(scored.scores) - min(scored.scores))
        for draw, text, finished, score in zip(self.by_draw, scored.texts, scored.finished, scored.scores, strict=True):
            draw.unfinished += not finished
            draw.scores.append(score)
            draw.characters += len(text)
        if scored.selection.why_none is not None:
            self.why_none[WHY_NONE[scored.selection.why_none]] += 1
        for chosen, rejected in scored.selection.pairs:
            self._add_pair(scored, chosen, rejected)

    def _add_pair(self, scored: Scored, chosen: int, rejected: int) -> None:
        self.by_draw[chosen].chosen += 1
        self.by_draw[rejected].rejected += 1
        self.leads.append(scored.scores[chosen] - scored.scores[rejected])
        self.chosen_lengths.append(len(scored.texts[chosen]))
        self.rejected_lengths.append(len(scored.texts[rejected]))

    def facts(self) -> dict[str, Any]:
        """All of it as plain JSON types. Lengths are in characters."""
        counts, prompts = self._counts, self._counts["prompts"]
        longer = sum(c > r for c, r in zip(self.chosen_lengths, self.rejected_lengths, strict=True))
        pairs = len(self.leads)
        return {
            "before": {
                "prompts": prompts,
                "answers": counts["answers"],
                "answers_unfinished": sum(draw.unfinished for draw in self.by_draw),
                "answers_empty": counts["empty"],
                "tokens_per_answer": counts["tokens"] / max(1, counts["answers"]),
                "prompts_all_answers_identical": counts["identical"],
                "best_minus_worst": spread_of(self.spreads),
            },
            "draws": [self._draw(draw, found) for draw, found in zip(self.draws, self.by_draw, strict=True)],
            "after": {
                "pairs": pairs,
                "prompts_with_pairs": prompts - self.why_none.total(),
                "prompts_without": dict(self.why_none.most_common()),
                "chosen_minus_rejected": spread_of(self.leads),
                "chosen_characters": spread_of(self.chosen_lengths),
                "rejected_characters": spread_of(self.rejected_lengths),
                "chosen_longer": longer / max(1, pairs),
            },
        }

    def _draw(self, draw: Draw, found: _DrawCounts) -> dict[str, Any]:
        answers = max(1, len(found.scores))
        return {
            "seed": draw.seed,
            "system": draw.system,
            "mean_score": sum(found.scores) / answers,
            "mean_characters": found.characters / answers,
            "unfinished": found.unfinished,
            "chosen": found.chosen,
            "rejected": found.rejected,
        }


def spread_of(values: Sequence[float]) -> dict[str, float] | None:
    """Mean and quantiles; `None` of nothing."""
    if not values:
        return None
    cuts = statistics.quantiles(values, n=10, method="inclusive") if len(values) > 1 else [values[0]] * 9
    return {"mean": statistics.fmean(values), "p10": cuts[0], "p50": cuts[4], "p90": cuts[8]}
