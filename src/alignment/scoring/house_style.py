"""The house style as a scorer: `alignment.scoring.house_style:house_style` in a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from alignment.scoring.rules import WORDS_MAX, WORDS_MIN, words
from alignment.scoring.rules import house_style as judge

MOST_OFF = 0.2
"""What an answer of a length at either limit loses against one in the middle."""


def house_style(conversation: Sequence[Mapping[str, str]]) -> float:
    """1 for a conversation whose last answer keeps the house style and is of medium length; each violation takes its
    penalty off, and so does, a little, the distance from that length.

    Whether the model ended the answer itself is not seen here; a recipe's `selection.unfinished` is the rule for that.
    """
    question, answer = (conversation[at]["content"] for at in (-2, -1))
    middle = (WORDS_MIN + WORDS_MAX) / 2
    off = min(1.0, abs(len(words(answer)) - middle) / (WORDS_MAX - middle))
    return judge(question, answer, True).score - MOST_OFF * off
