"""The formats, as data. Adding one takes a row here, its name in `alignment.recipe.dataset_formats`, and its example
in docs/data.md."""

from __future__ import annotations

from alignment.data.formats.canonical import CONVERSATIONS, PAIRS
from alignment.data.formats.compared import COMPARED_ANSWERS, RANKED_OUTPUT
from alignment.data.formats.dialogues import CONTEXT_PAIRS, OPENAI_PAIRS, SHAREGPT, SWIFT_PAIRS
from alignment.data.formats.instructions import ALPACA, INSTRUCTION_PAIRS
from alignment.data.formats.plain_text import TEXT
from alignment.data.formats.row_format import Format
from alignment.data.formats.scored import RATED_ANSWERS, SCORED_ANSWERS
from alignment.data.formats.transcripts import TRANSCRIPT_PAIRS, TRANSCRIPTS

FORMATS: dict[str, Format] = {
    found.name: found
    for found in (
        PAIRS,
        TRANSCRIPT_PAIRS,
        INSTRUCTION_PAIRS,
        CONTEXT_PAIRS,
        SWIFT_PAIRS,
        OPENAI_PAIRS,
        RANKED_OUTPUT,
        SCORED_ANSWERS,
        RATED_ANSWERS,
        COMPARED_ANSWERS,
        CONVERSATIONS,
        SHAREGPT,
        ALPACA,
        TRANSCRIPTS,
        TEXT,
    )
}
"""In the order in which equal readings of a row are preferred."""
