"""Whether a model still answers: shares of answers that are empty, run into a loop, echo or do not end, and variety.

Pure functions of texts. `alignment.data.words` says what a word is, in any script.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from alignment.data.words import words_of
from alignment.generation.answers import Answer

LOOP_GRAM = 4
LOOP_SHARE = 0.3
LOOP_WORDS = 8
"""An answer of so many words is in a loop when so large a share of its runs of four words were there before. In what
people write that is below 1 % on average, and above 40 % in the greedy text of a model that loops (Welleck et al.
2020, arXiv 1908.04319)."""
_STUCK = re.compile(r"(?P<unit>\S{1,20}?)(?P=unit){9,}")
_STUCK_CHARACTERS = 40
"""So much of one piece, said ten times without a blank (`hahaha`), is a loop that has no words."""

ECHO_WORDS = 6
ECHO_SHARE = 0.8
"""An answer of so many words echoes when so large a share of its runs of four words stands in the prompt."""


@dataclass(frozen=True, kw_only=True)
class Quality:
    """What a set of answers is like. Shares are of all answers."""

    answers: int
    unfinished: float
    """Cut at the token limit."""
    empty: float
    """Without a letter or a digit."""
    repeating: float
    """In a loop."""
    echoing: float
    """That say the prompt again."""
    distinct: tuple[float, float, float]
    """Different runs of one, two and three words over all such runs in all answers (Li et al. 2016, arXiv 1510.03055).
    It falls with the number and the length of the answers: comparable only for answers to the same prompts."""
    mean_words: float

    def summary(self) -> dict[str, Any]:
        """The numbers, ready for JSON."""
        rounded = {name: round(value, 4) for name, value in asdict(self).items() if isinstance(value, float)}
        return {"answers": self.answers, **rounded, "distinct": [round(value, 4) for value in self.distinct]}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that sound models do not do."""

    name: str
    """The number that shows it: a field of `Quality`."""
    collapsed: bool
    """Whether it means that the model no longer answers, rather than that it answers in another way."""
    message: str
    """The number, the threshold and its reason, in one sentence."""


def quality(prompts: Sequence[str], answers: Sequence[Answer]) -> Quality:
    """What the answers are like: `answers[i]` is one to `prompts[i]`, the last thing that the user said.

    Raises:
        ValueError: there is no answer, or not one for each prompt.
    """
    if not answers:
        raise ValueError("no answers")
    said = [words_of(answer.text).split() for answer in answers]
    pairs = zip(prompts, said, strict=True)
    return Quality(
        answers=len(answers),
        unfinished=fmean(not answer.finished for answer in answers),
        empty=fmean(not words for words in said),
        repeating=fmean(loops(answer.text, words) for answer, words in zip(answers, said, strict=True)),
        echoing=fmean(echoes(words_of(prompt).split(), words) for prompt, words in pairs),
        distinct=(distinct(said, 1), distinct(said, 2), distinct(said, 3)),
        mean_words=fmean(map(len, said)),
    )


def loops(text: str, words: Sequence[str]) -> bool:
    """Whether an answer runs in a loop: see `LOOP_SHARE`. `words` are those of `text`."""
    runs = list(_runs(words, LOOP_GRAM))
    if len(words) >= LOOP_WORDS and 1 - len(set(runs)) / len(runs) >= LOOP_SHARE:
        return True
    return any(
        len(stuck.group()) >= _STUCK_CHARACTERS and any(map(str.isalnum, stuck["unit"]))
        for stuck in _STUCK.finditer(text)
    )


def echoes(asked: Sequence[str], said: Sequence[str]) -> bool:
    """Whether an answer says its prompt again instead of answering: the same words, or hardly any run of its own."""
    if len(said) < ECHO_WORDS:
        return bool(said) and list(said) == list(asked)
    known = set(_runs(asked, LOOP_GRAM))
    return fmean(run in known for run in _runs(said, LOOP_GRAM)) >= ECHO_SHARE


def distinct(texts: Sequence[Sequence[str]], length: int) -> float:
    """Different runs of `length` words over all such runs in the texts; 0 where there is none."""
    runs = [run for words in texts for run in _runs(words, length)]
    return len(set(runs)) / len(runs) if runs else 0.0


def _runs(words: Sequence[str], length: int) -> Iterator[tuple[str, ...]]:
    return (tuple(words[at : at + length]) for at in range(len(words) - length + 1))


FEW = 8
"""Fewer answers than these say nothing about a model."""

COLLAPSE = {
    "empty": (0.05, "instruction-tuned models answer nearly every question"),
    "repeating": (0.2, "a sound model loops in a few answers of a hundred, even when it is greedy"),
    "echoing": (0.2, "a sound model answers instead of saying the question again"),
}
"""Field of `Quality` -> the share above which the model has collapsed, and why. With a base to compare with, the share
must also be above that of the base by as much: prompts that ask for a copy are echoed by any model."""

UNFINISHED_ABOVE = 0.3
"""Above the share of the base: how many answers end depends on the token limit first of all."""
DISTINCT_BELOW = 0.5
"""Of the base's. Twice as many words to a prompt lower the share of different pairs of words by less than this."""
TIMES_AS_LONG = 3.0
"""Or a third as long. Data that ask for longer or shorter answers change the length by less."""


def findings(now: Quality, base: Quality | None = None) -> list[Finding]:
    """What is wrong with a model's answers, worst first; empty for a sound model.

    A share counts when the lower end of its 95 % interval (Wilson) is above the threshold, so that a few bad answers
    among a few do not count as a collapse.

    Args:
        now: of the model.
        base: of the model that it was made from, on the same prompts with the same settings.
    """
    if now.answers < FEW:
        return []
    return [*_collapses(now, base), *(_shifts(now, base) if base else ())]


def _collapses(now: Quality, base: Quality | None) -> Iterator[Finding]:
    for name, (threshold, reason) in COLLAPSE.items():
        share = getattr(now, name)
        before = getattr(base, name) if base else 0.0
        if wilson_low(share, now.answers) > threshold and share - before > threshold:
            told = f"{share:.0%} of {now.answers} answers are {name}{_beside(before, base)}"
            message = f"The model has collapsed: {told}; more than {threshold:.0%} is out of the ordinary, as {reason}."
            yield Finding(name=name, collapsed=True, message=message)
    if base and now.distinct[1] < DISTINCT_BELOW * base.distinct[1] and now.mean_words <= 2 * base.mean_words:
        told = f"{now.distinct[1]:.0%} of all pairs of words are different ones (base {base.distinct[1]:.0%})"
        message = f"The model has collapsed: {told}; below half of the base, it says the same to everybody."
        yield Finding(name="distinct", collapsed=True, message=message)


def _shifts(now: Quality, base: Quality) -> Iterator[Finding]:
    if now.unfinished - base.unfinished > UNFINISHED_ABOVE:
        told = f"{now.unfinished:.0%} of {now.answers} answers do not end{_beside(base.unfinished, base)}"
        message = f"{told}; {UNFINISHED_ABOVE:.0%} more than the base means that it has unlearned to stop."
        yield Finding(name="unfinished", collapsed=False, message=message)
    if not base.mean_words / TIMES_AS_LONG <= now.mean_words <= base.mean_words * TIMES_AS_LONG:
        told = f"Answers have {now.mean_words:.0f} words on average (base {base.mean_words:.0f})"
        message = f"{told}; a change by a factor of {TIMES_AS_LONG:g} is more than preference data usually ask for."
        yield Finding(name="mean_words", collapsed=False, message=message)


def _beside(before: float, base: Quality | None) -> str:
    return f" (base {before:.0%})" if base else ""


def wilson_low(share: float, count: int) -> float:
    """Lower end of the 95 % interval of a share of `count` (Wilson 1927)."""
    z = 1.96
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, (share + z * z / (2 * count) - spread) / (1 + z * z / count))
