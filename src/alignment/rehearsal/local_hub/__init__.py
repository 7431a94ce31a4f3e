"""A Hugging Face Hub on this machine, over real HTTP: what rehearsals and tests push to and download from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alignment.lazy import lazily

if TYPE_CHECKING:
    from alignment.rehearsal.local_hub.server import HubServer

_EXPORTS = {
    "HubServer": "alignment.rehearsal.local_hub.server",
}

__all__ = ["HubServer"]

__getattr__ = lazily(__name__, _EXPORTS)
