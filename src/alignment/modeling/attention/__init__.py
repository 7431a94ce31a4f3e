"""Attention over packed rows with shared prompts, by the best kernel that the machine has."""

from __future__ import annotations

from alignment.modeling.attention.attend import Attend, Scores
from alignment.modeling.attention.backends import (
    BACKENDS,
    Machine,
    Needs,
    attention_of,
    choose_backend,
    needs_of,
    this_machine,
)
from alignment.modeling.attention.layout import SharedPrompts, layout_indices
from alignment.modeling.attention.probe import choose_proven_backend
from alignment.modeling.attention.register import PackedCall, serve_shared_prompts

__all__ = [
    "BACKENDS",
    "Attend",
    "Machine",
    "Needs",
    "PackedCall",
    "Scores",
    "SharedPrompts",
    "attention_of",
    "choose_backend",
    "choose_proven_backend",
    "layout_indices",
    "needs_of",
    "serve_shared_prompts",
    "this_machine",
]
