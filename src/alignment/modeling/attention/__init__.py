"""Attention over packed rows with shared prompts, by the best kernel that the machine has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alignment.lazy import lazily

if TYPE_CHECKING:
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

_EXPORTS = {
    "Attend": "alignment.modeling.attention.attend",
    "BACKENDS": "alignment.modeling.attention.backends",
    "Machine": "alignment.modeling.attention.backends",
    "Needs": "alignment.modeling.attention.backends",
    "PackedCall": "alignment.modeling.attention.register",
    "Scores": "alignment.modeling.attention.attend",
    "SharedPrompts": "alignment.modeling.attention.layout",
    "attention_of": "alignment.modeling.attention.backends",
    "choose_backend": "alignment.modeling.attention.backends",
    "choose_proven_backend": "alignment.modeling.attention.probe",
    "layout_indices": "alignment.modeling.attention.layout",
    "needs_of": "alignment.modeling.attention.backends",
    "serve_shared_prompts": "alignment.modeling.attention.register",
    "this_machine": "alignment.modeling.attention.backends",
}

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

__getattr__ = lazily(__name__, _EXPORTS)
