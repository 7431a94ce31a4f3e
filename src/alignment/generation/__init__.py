"""Answers of a language model: to one question, and to many at once.

`load_engine(settings, model).answers(requests)` draws them, in this process or through a server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from alignment.lazy import lazily

if TYPE_CHECKING:
    from alignment.generation.answers import Answer
    from alignment.generation.engine import Engine, Request
    from alignment.generation.load import load_engine

# Naming an engine in a recipe must not import torch.
_EXPORTS = {
    "Answer": "alignment.generation.answers",
    "Engine": "alignment.generation.engine",
    "Request": "alignment.generation.engine",
    "load_engine": "alignment.generation.load",
}

__all__ = ["Answer", "Engine", "Request", "load_engine"]

__getattr__ = lazily(__name__, _EXPORTS)
