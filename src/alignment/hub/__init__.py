"""From the Hub and to the Hub: pinned downloads, verified and resumable publication."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alignment.hub.account import Destination, check_destination
    from alignment.hub.finished import destination_of, publish_finished
    from alignment.hub.publish import publish

_EXPORTS = {
    "Destination": "account",
    "check_destination": "account",
    "destination_of": "finished",
    "publish": "publish",
    "publish_finished": "finished",
}

__all__ = ["Destination", "check_destination", "destination_of", "publish", "publish_finished"]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_EXPORTS[name]}", __name__), name)
