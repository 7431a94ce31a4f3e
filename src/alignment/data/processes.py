"""A data set prepared by as many processes as help."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset, Features

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


def map_batches(
    dataset: Dataset,
    function: Callable[..., dict[str, list[Any]]],
    features: Features,
    *,
    scratch: Path,
    num_proc: int | None,
    **options: Any,
) -> Dataset:
    """What `function` makes of the columns of every batch, in files of the folder `scratch`.

    Args:
        num_proc: as `asked` of `workers_for`.
        options: of `Dataset.map`.
    """
    with _interruptible():
        return dataset.map(
            function,
            batched=True,
            remove_columns=dataset.column_names,
            features=features,
            num_proc=workers_for(len(dataset), num_proc),
            cache_file_name=str(scratch / "mapped.arrow"),
            load_from_cache_file=False,
            **options,
        )


@contextmanager
def _interruptible() -> Iterator[None]:
    """When all processes are interrupted at once, `datasets` waits for those that are gone, and says so instead."""
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, KeyboardInterrupt):
                raise KeyboardInterrupt from error
            cause = cause.__context__
        raise
