"""Data sets of the Hugging Face Hub: fetched at a revision, or an error that says what is missing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from alignment.errors import DataError, Fault, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset

_COMMIT = re.compile(r"[0-9a-f]{40}")


def read_remote(name: str, split: str, config: str | None, revision: str | None) -> tuple[Dataset, str | None]:
    """One split of a data set on the Hub, and the commit that it was read at.

    The commit is `None` when the source does not tell it.

    Raises:
        DataError: the data set, config, split or revision does not exist or is not accessible, or the Hub is
        not.
    """
    import datasets

    from alignment.hub.errors import TransportError

    try:
        builder = datasets.load_dataset_builder(name, config, revision=revision)
        commit = builder.hash if builder.hash and _COMMIT.fullmatch(builder.hash) else None
        if revision and _COMMIT.fullmatch(revision) and commit != revision:
            # Without a network `datasets` falls back on whatever revision lies in its cache.
            raise DataError(
                Fault(
                    key=name,
                    rule=f"is cached at revision {commit}, and the pinned {revision} cannot be fetched",
                    remedy="connect to the Hub, or pin the cached revision",
                )
            )
        builder.download_and_prepare()
        names = list(builder.info.splits or {})
        if split not in names:
            remedy = did_you_mean(split, names) or f"its splits are {', '.join(names)}"
            raise DataError(Fault(key=name, rule=f"has no split {split}", remedy=remedy))
        return builder.as_dataset(split=split), commit
    except (OSError, ValueError, RuntimeError, TransportError, datasets.exceptions.DatasetsError) as error:
        raise DataError(_fault(name, config, revision, error)) from error


def _fault(name: str, config: str | None, revision: str | None, error: Exception) -> Fault:
    import datasets

    from alignment.hub.errors import fault_of

    hub = fault_of(error, name, key="data set", revision=revision, kind="dataset")
    if hub is not None:
        return hub
    said = (str(error).splitlines() or [type(error).__name__])[0]
    text = str(error).lower()
    if isinstance(error, datasets.exceptions.DatasetGenerationError):
        remedy = "download it and name the local folder: rows of local JSON files are checked one by one"
        said = (str(error.__cause__ or error).splitlines() or [said])[0]
    elif "builderconfig" in text or "config name" in text:
        known = [found for found in re.findall(r"'([^']+)'", str(error)) if found != config]
        remedy = did_you_mean(config or "", known) or "set dataset_config (or config, in a mixture) to one of them"
    elif "doesn't exist" in text and "revision" in text:
        remedy = "check the revision"
    elif isinstance(error, ConnectionError) or "offline" in text or "connect" in text:
        remedy = "check the network and HF_HUB_OFFLINE, or name a local file or folder (there is none of this name)"
    else:
        remedy = "check the name; log in with `hf auth login` if it is private; a local file or folder would do too"
    return Fault(key=name, rule=f"cannot be fetched from the Hub: {said.rstrip('.')}", remedy=remedy)
