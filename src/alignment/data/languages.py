"""The languages that rows are written in, as py3langid tells them: offline, by frequent runs of bytes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

SHOWN = 10
"""Languages that are counted by name, the most frequent ones."""
LEAST = 20
"""Letters without which nothing can be told; a character of Chinese or Japanese counts as two."""
_LONGEST = 400
_LETTER = re.compile(r"[^\W\d_]")
_NO_LANGUAGE = "zxx"
UNDETERMINED = "undetermined"
OTHER = "other"


def language_of(text: str) -> str:
    """The ISO 639-1 code of a text, or `undetermined` when it has too few letters; told by its beginning."""
    beginning = text[:_LONGEST]
    letters = _LETTER.findall(beginning)
    if len(letters) + sum(letter > "\u2e80" for letter in letters) < LEAST:
        return UNDETERMINED
    import py3langid

    found = str(py3langid.classify(beginning)[0])
    return UNDETERMINED if found == _NO_LANGUAGE else found


def languages(texts: Iterable[str]) -> dict[str, int]:
    """Language -> texts, the most frequent first; those beyond `SHOWN` together as `other`."""
    counts = Counter(map(language_of, texts)).most_common()
    rest = sum(count for _, count in counts[SHOWN:])
    return {**dict(counts[:SHOWN]), **({OTHER: rest} if rest else {})}
