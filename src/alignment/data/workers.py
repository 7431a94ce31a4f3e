"""How many processes prepare a data set."""

from __future__ import annotations

import os

PARALLEL_FROM = 5_000
"""Rows from which more processes pay for their start."""


def workers_for(rows: int, asked: int | None) -> int | None:
    """Processes for so many rows; `None` for this one alone.

    Args:
        asked: the recipe's `dataset_num_proc`; `None` for one a core that this process may use.
    """
    if rows < PARALLEL_FROM:
        return None
    wanted = len(os.sched_getaffinity(0)) if asked is None else asked
    return min(wanted, rows // (PARALLEL_FROM // 2)) if wanted > 1 else None
