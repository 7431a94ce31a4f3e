"""What a file of rows is by its first bytes: pages and pointers that downloads leave behind are told as such."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from alignment.errors import DataError, Fault

_SIGNS: tuple[tuple[str, str, str], ...] = (
    (r"version https://git-lfs", "is a pointer of Git LFS, not the file itself", "run git lfs pull in its repository"),
    (r"PAR1", "is Parquet, by its content", "name it .parquet (decompressed, if it is not)"),
    (r"ARROW1", "is Arrow, by its content", "name the folder that save_to_disk wrote"),
    (r"PK\x03\x04", "is a zip archive or a spreadsheet, by its content", "unpack it, or save it as CSV"),
    (r"(?s).{257}ustar", "is a tar archive, by its content", "unpack it"),
    (r"(?i)\s*<(!doctype|html|\?xml|head|body)", "is a web page, not rows", "download the file itself"),
    (r"\x80[\x02-\x05]", "is a pickle, by its content", "write it as JSON Lines or Parquet"),
)
_WIDE = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def refuse_content(file: Path, head: bytes) -> None:
    """Refuse a file whose first bytes show that it holds no rows as text.

    Raises:
        DataError: with what it is, and the remedy.
    """
    if head.startswith(_WIDE):
        raise DataError(Fault(key=str(file), rule="is UTF-16 or UTF-32 text", remedy="save it as UTF-8"))
    text = head.removeprefix(codecs.BOM_UTF8).decode("latin-1")
    for sign, rule, remedy in _SIGNS:
        if re.match(sign, text):
            raise DataError(Fault(key=str(file), rule=rule, remedy=remedy))


def is_settings(file: Path) -> bool:
    """Whether a JSON file holds one object on several lines, as settings and reports do, rather than rows."""
    with file.open("rb") as stream:
        head = stream.read(4096).removeprefix(codecs.BOM_UTF8).lstrip()
    return head.startswith(b"{") and head.partition(b"\n")[0].strip() in (b"{", b"{}")
