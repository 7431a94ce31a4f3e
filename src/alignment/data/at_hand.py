"""Which sources of a recipe are on this machine, told without importing a large library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alignment.data.files import find_local
from alignment.hub.offline import has_cached_dataset

if TYPE_CHECKING:
    from alignment.recipe.schema import DataArguments

NOT_HERE = "is not on this machine, and nothing is downloaded here; `make data` fetches it"


def source_ids(data: DataArguments) -> list[str]:
    """What the recipe names as its rows, each once."""
    if data.dataset_mixture is not None:
        return list(dict.fromkeys(source.id for source in data.dataset_mixture.datasets))
    return [str(data.dataset_name)]


def absent_sources(data: DataArguments) -> list[str]:
    """Those of them that are neither local nor in the caches of the Hub's client.

    Raises:
        DataError: a path where nothing is.
    """
    return [name for name in source_ids(data) if not is_local(name) and not has_cached_dataset(name)]


def nothing(reason: str | None) -> dict[str, Any]:
    """What there is to see of a recipe (`alignment.run.inspect_data`) whose rows are not at hand."""
    return {"data": None, "data_missing": reason, "tokens": None, "tokens_missing": "no rows at hand", "pair": None}


def is_local(name: str) -> bool:
    """Whether a file or folder has this name."""
    return find_local(name) is not None
