"""The file and line, or the argument, that a fault comes from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from alignment.errors import Fault
from alignment.recipe.yaml_document import Document, Origin


def with_sources(faults: list[Fault], document: Document) -> Iterator[Fault]:
    """Each fault once, with the place where its key was stated."""
    seen = set()
    for fault in faults:
        if (fault.key, fault.rule) in seen:
            continue
        seen.add((fault.key, fault.rule))
        origin = None if fault.source else fault_origin(document, fault.key)
        yield replace(fault, source=str(origin)) if origin else fault


def fault_origin(document: Document, key: str) -> Origin | None:
    """Where `key`, or the nearest thing around it, was stated."""
    while key:
        if key in document.origins:
            return document.origins[key]
        cut = max(key.rfind("."), key.rfind("["))
        key = key[:cut] if cut > 0 else ""
    return None
