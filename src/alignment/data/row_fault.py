"""Why one row cannot be used, and the words for what stands in it."""

from __future__ import annotations

_SHOWN = 60
"""Characters of a value that a message shows."""


class RowFault(Exception):
    """Why one row cannot be used."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        """Short and countable: the same fault in another row has the same reason."""
        self.detail = detail
        """What was found in this row."""
        super().__init__(reason, detail)

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


def kind_of(value: object) -> str:
    """What a value is, in the words of JSON."""
    names = {
        str: "a string",
        list: "a list",
        tuple: "a list",
        dict: "an object",
        bool: "a boolean",
        type(None): "null",
    }
    return names.get(type(value), "a number" if isinstance(value, int | float) else type(value).__name__)


def shown(value: object) -> str:
    """A value as messages show it: as Python writes it, cut short."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
