"""Text that is no conversation, trained on as it stands."""

from __future__ import annotations

from alignment.data.formats.fields import text_of
from alignment.data.formats.row_format import Format, Row
from alignment.data.formats.transcripts import is_dialogue


def _is_text(row: Row) -> bool:
    return isinstance(row.get("text"), str) and not is_dialogue(row["text"])


def _text(row: Row) -> Row:
    return {"text": text_of(row, "text")}


TEXT = Format(
    name="text",
    gives="conversation",
    shape="text alone, every token of which is trained",
    columns=("text",),
    needs=(("text",),),
    recognizes=_is_text,
    convert=_text,
)
