"""Attention over packed rows with shared prompts, by the best kernel that the machine has."""

from __future__ import annotations

from .attend import Scores
from .backends import BACKENDS, Machine, Needs, attention_of, choose_backend, needs_of, this_machine
from .layout import SharedPrompts
from .probe import choose_proven_backend
from .register import PackedCall, serve_shared_prompts

__all__ = [
    "BACKENDS",
    "Machine",
    "Needs",
    "PackedCall",
    "Scores",
    "SharedPrompts",
    "attention_of",
    "choose_backend",
    "choose_proven_backend",
    "needs_of",
    "serve_shared_prompts",
    "this_machine",
]
