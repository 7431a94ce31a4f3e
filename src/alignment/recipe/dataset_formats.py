"""The names that `dataset_format` can have; `alignment.data.formats` says what each of them reads."""

from __future__ import annotations

from typing import Literal, get_args

PreferenceFormat = Literal[
    "pairs",
    "transcript_pairs",
    "instruction_pairs",
    "context_pairs",
    "swift_pairs",
    "openai_pairs",
    "ranked_output",
    "scored_answers",
    "rated_answers",
    "compared_answers",
]
SCORED_FORMATS = ("scored_answers", "rated_answers")
"""Formats whose pairs `selection` picks."""

ConversationFormat = Literal["conversations", "sharegpt", "alpaca", "transcripts", "text"]
DatasetFormat = Literal["auto", PreferenceFormat, ConversationFormat]

PREFERENCE_FORMATS: tuple[str, ...] = get_args(PreferenceFormat)
CONVERSATION_FORMATS: tuple[str, ...] = get_args(ConversationFormat)
