"""What is unusual about a run and has cost others theirs: told before it starts, with the evidence, never refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alignment.lazy import lazily

if TYPE_CHECKING:
    from alignment.recipe.warnings.facts import Facts, facts_of, steps_of, with_rows_at_hand
    from alignment.recipe.warnings.judge import Warned, judged, lines_of
    from alignment.recipe.warnings.table import WARNINGS

_EXPORTS = {
    "Facts": "alignment.recipe.warnings.facts",
    "WARNINGS": "alignment.recipe.warnings.table",
    "Warned": "alignment.recipe.warnings.judge",
    "facts_of": "alignment.recipe.warnings.facts",
    "judged": "alignment.recipe.warnings.judge",
    "lines_of": "alignment.recipe.warnings.judge",
    "steps_of": "alignment.recipe.warnings.facts",
    "with_rows_at_hand": "alignment.recipe.warnings.facts",
}

__all__ = ["WARNINGS", "Facts", "Warned", "facts_of", "judged", "lines_of", "steps_of", "with_rows_at_hand"]

__getattr__ = lazily(__name__, _EXPORTS)
