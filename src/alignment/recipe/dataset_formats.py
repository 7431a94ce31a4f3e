"""The names that `dataset_format` can have; `alignment.data.formats` says what each of them reads."""

from __future__ import annotations

from typing import Literal, get_args

PreferenceFormat = Literal["pairs", "transcript_pairs", "instruction_pairs"]
ConversationFormat = Literal["conversations", "alpaca"]
DatasetFormat = Literal["auto", PreferenceFormat, ConversationFormat]

PREFERENCE_FORMATS: tuple[str, ...] = get_args(PreferenceFormat)
CONVERSATION_FORMATS: tuple[str, ...] = get_args(ConversationFormat)
