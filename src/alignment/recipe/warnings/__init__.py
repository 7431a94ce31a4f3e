"""What is unusual about a run and has cost others theirs: told before it starts, with the evidence, never refused."""

from __future__ import annotations

from alignment.recipe.warnings.facts import Facts, facts_of, steps_of, with_rows_at_hand
from alignment.recipe.warnings.judge import Warned, judged, lines_of
from alignment.recipe.warnings.table import WARNINGS

__all__ = ["WARNINGS", "Facts", "Warned", "facts_of", "judged", "lines_of", "steps_of", "with_rows_at_hand"]
