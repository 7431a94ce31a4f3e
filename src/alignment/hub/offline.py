"""The Hub's client without a network, for commands that only look at what is on this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SWITCH = "HF_HUB_OFFLINE"


@contextmanager
def offline() -> Iterator[None]:
    """Nothing is downloaded within the block: what is not in the cache is reported as missing.

    The libraries read the environment once, when they are imported.
    """
    import huggingface_hub.constants

    places = [huggingface_hub.constants, *filter(None, [sys.modules.get("datasets.config")])]
    before = [getattr(place, _SWITCH) for place in places]
    stated = os.environ.get(_SWITCH)
    os.environ[_SWITCH] = "1"
    for place in places:
        setattr(place, _SWITCH, True)
    try:
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            setattr(place, _SWITCH, value)
        if stated is None:
            del os.environ[_SWITCH]
        else:
            os.environ[_SWITCH] = stated


def has_cached_dataset(name: str) -> bool:
    """Whether anything of a data set of the Hub is in the caches, as files or as rows."""
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface").expanduser()
    files = Path(os.environ.get("HF_HUB_CACHE") or home / "hub") / f"datasets--{name.replace('/', '--')}"
    rows = Path(os.environ.get("HF_DATASETS_CACHE") or home / "datasets") / name.replace("/", "___")
    return files.exists() or rows.exists()
