"""House rules: what a good answer looks like, decided by a program and by nothing else.

A rule is a pure function of the question, the answer and whether the model ended the answer itself. It names every
violation, so that a number that moves can be explained, and grades them, so that pairs can be built from answers
of which none is perfect.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

WORDS_MIN, WORDS_MAX = 12, 50
SENTENCES_MAX = 3
NEW_WORDS_MIN = 6
REPEAT_LENGTH = 4
STEM_LENGTH = 4

PENALTIES: dict[str, float] = {
    "unfinished": 1.0,
    "too_short": 1.0,
    "too_long": 1.0,
    "too_many_sentences": 0.3,
    "no_full_stop": 0.3,
    "markup": 0.5,
    "several_paragraphs": 0.3,
    "echo": 1.0,
    "asks_back": 0.5,
    "repeats": 0.7,
    "off_topic": 0.7,
    "chatter": 0.5,
}
"""What each violation of the house style takes off the score of 1; the two of length are scaled by the distance."""

_WORD = re.compile("[^\\W_]+(?:['\u2019-][^\\W_]+)*")
_CLOSING = "[\"'\u201d\u2019)]*"
_SENTENCE_END = re.compile(rf"[.!?]+{_CLOSING}(?=\s|$)")
_FULL_STOP = re.compile(rf"[.!?]{_CLOSING}$")
_MARKUP = re.compile(
    r"\*\*|__|`|^\s*(?:[-*•+]\s|\d{1,2}[.)]\s|#{1,6}\s|>\s|\|)|[\s(]1[.)]\s.*\s\(?2[.)]\s", re.MULTILINE
)
_CHATTER = re.compile(
    r"^\W*(?:sure|certainly|absolutely|of course|great question|good question|hello|hi|hey|here(?: are| is|'s)|"
    r"let me|i(?:'m| am) (?:glad|happy|sorry)|i(?:'d| would) be|thank you)\b|\bas an ai\b|\bai assistant\b|\bsmollm\b",
    re.IGNORECASE,
)
_COMMON_WORDS = (
    "about after also always because been before being best between better came come could days does doing "
    "done each ever every feel find from gets give good happen have having help here into just keep know large "
    "like long made make makes making many mean means more most much must need needs never often once only "
    "other over people person really same should simple small some someone something take than that their them "
    "then there these they thing things this those through time under until used using usually very want well "
    "were what when where which while will with without would your"
)
_COMMON = frozenset(_COMMON_WORDS.split())


@dataclass(frozen=True, kw_only=True)
class Judgment:
    """What a rule found in one answer."""

    score: float
    """1 for an answer that complies; each violation takes its penalty off. Comparable within one rule only."""
    violations: tuple[str, ...]
    """Names of what is wrong, in the order of the rule's table."""

    @property
    def complies(self) -> bool:
        """Whether nothing is wrong."""
        return not self.violations


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One row of `RULES`."""

    summary: str
    """The rule as one sentence, printed beside its numbers."""
    judge: Callable[[str, str, bool], Judgment]
    """(question, answer, finished) -> Judgment."""


def house_style(question: str, answer: str, finished: bool) -> Judgment:
    """A complete, plain, short answer to an everyday question.

    Args:
        question: What the user asked.
        answer: The model's text without its end token.
        finished: Whether the model ended the answer itself, rather than being cut off at the token limit.
    """
    text = answer.strip()
    asked, said = words(question), words(text)
    sentences = len(_SENTENCE_END.findall(text))
    found = {
        "unfinished": not finished,
        "too_short": len(said) < WORDS_MIN,
        "too_long": len(said) > WORDS_MAX,
        "too_many_sentences": sentences > SENTENCES_MAX,
        "no_full_stop": not _FULL_STOP.search(text),
        "markup": bool(_MARKUP.search(text)),
        "several_paragraphs": "\n" in text,
        "echo": _holds(said, asked) or len(set(said) - set(asked)) < NEW_WORDS_MIN,
        "asks_back": "?" in text,
        "repeats": repeats(said, REPEAT_LENGTH),
        "off_topic": bool(stems(asked)) and not stems(asked) & stems(said),
        "chatter": bool(_CHATTER.search(text)),
    }
    violations = tuple(name for name in PENALTIES if found[name])
    scale = {
        "too_short": (WORDS_MIN - len(said)) / WORDS_MIN,
        "too_long": min(1.0, (len(said) - WORDS_MAX) / WORDS_MAX),
    }
    return Judgment(
        score=1.0 - sum(PENALTIES[name] * scale.get(name, 1.0) for name in violations), violations=violations
    )


RULES: dict[str, Rule] = {
    "house_style": Rule(
        summary=f"a finished answer of {WORDS_MIN} to {WORDS_MAX} words in at most {SENTENCES_MAX} plain sentences, on "
        "the question's subject, without list, markup, echo, repetition, small talk or question of its own",
        judge=house_style,
    ),
}


def words(text: str) -> list[str]:
    """The words of a text in lower case; `it's` and `well-known` are one word each."""
    return [word.lower() for word in _WORD.findall(text)]


def stems(said: list[str]) -> set[str]:
    """Crude stems of the words that carry the subject: four letters or more, common words left out."""
    return {word[:STEM_LENGTH] for word in said if len(word) >= 4 and word not in _COMMON}


def repeats(said: list[str], length: int) -> bool:
    """Whether any run of `length` words occurs twice."""
    runs = [tuple(said[at : at + length]) for at in range(len(said) - length + 1)]
    return len(set(runs)) < len(runs)


def _holds(said: list[str], asked: list[str]) -> bool:
    """Whether the whole question stands in the answer, word for word."""
    size = len(asked)
    return size > 0 and any(said[at : at + size] == asked for at in range(len(said) - size + 1))
