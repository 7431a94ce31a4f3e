"""Texts as words that can be compared, and a hash of every run of n words.

Two texts are compared after NFKC, case folding, and with everything that is neither letter, digit nor mark taken as a
space: case, punctuation, line breaks and full-width forms make no difference. Scripts that write no spaces between
words (Chinese, Japanese, Thai, Lao, Burmese, Khmer) have each character as a word, so that 13 words of them are 13
characters.
"""

from __future__ import annotations

import functools
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]

_SPACELESS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # ideographic marks that repeat or count
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),  # ideographs
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)
_BASE = 0x9E3779B97F4A7C15
"""Base of the polynomial over bytes; odd, so that it has an inverse modulo 2^64."""


class _Characters(dict[int, str | int]):
    """What becomes of each character; filled as characters are met."""

    def __missing__(self, code: int) -> str | int:
        self[code] = found = _translated(code)
        return found


def _translated(code: int) -> str | int:
    if any(first <= code <= last for first, last in _SPACELESS):
        return f" {chr(code)} "
    return code if unicodedata.category(chr(code))[0] in "LNM" else " "


_CHARACTERS = _Characters()


def words_of(text: str) -> str:
    """The words of a text, one space between two; `"Don't — STOP!"` -> `don t stop`."""
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(plain.translate(_CHARACTERS).split())


@dataclass(frozen=True, kw_only=True)
class Words:
    """One text, and where its words stand."""

    content: bytes
    """What `words_of` made of it, in UTF-8."""
    starts: NDArray[np.int32]
    """[words] Byte at which each word begins."""
    ends: NDArray[np.int32]
    """[words] Byte behind each word."""

    @classmethod
    def of(cls, text: str) -> Words:
        import numpy as np

        content = words_of(text).encode("utf-8", "surrogatepass")
        spaces = np.flatnonzero(np.frombuffer(content, np.uint8) == ord(" ")).astype(np.int32)
        if not content:
            return cls(content=content, starts=spaces, ends=spaces)
        starts = np.concatenate([np.zeros(1, np.int32), spaces + 1])
        return cls(content=content, starts=starts, ends=np.append(spaces, np.int32(len(content))))

    def __len__(self) -> int:
        return len(self.starts)

    def grams(self, length: int) -> Hashes:
        """[words - length + 1] Hash of every run of `length` words; equal runs have equal hashes."""
        import numpy as np

        if length > len(self):
            return np.zeros(0, np.uint64)
        first, last = self.starts[: len(self) - length + 1], self.ends[length - 1 :]
        shifted = self._sums[last] - self._sums[first]
        return _mixed(shifted * _powers(len(self.content), pow(_BASE, -1, 2**64))[first])

    def run(self, at: int, length: int) -> bytes:
        """`length` words from word `at` on."""
        return self.content[self.starts[at] : self.ends[at + length - 1]]

    @functools.cached_property
    def _sums(self) -> Hashes:
        """[bytes + 1] Sum over the bytes before each place of (byte + 1) x base^place, modulo 2^64."""
        import numpy as np

        terms = (np.frombuffer(self.content, np.uint8) + np.uint64(1)) * _powers(len(self.content), _BASE)
        return np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms, dtype=np.uint64)])


_TABLES: dict[int, Hashes] = {}


def _powers(count: int, base: int) -> Hashes:
    """[count] 1, base, base^2, ... modulo 2^64."""
    import numpy as np

    if base not in _TABLES or len(_TABLES[base]) < count:
        factors = np.full(1 << max(12, (count - 1).bit_length()), base, np.uint64)
        factors[0] = 1
        _TABLES[base] = np.cumprod(factors, dtype=np.uint64)
    return _TABLES[base][:count]


def _mixed(values: Hashes) -> Hashes:
    """Every bit of the result depends on every bit of the value (the finalizer of splitmix64)."""
    import numpy as np

    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
