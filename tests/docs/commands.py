"""The command lines that the documentation shows, as a reader would type them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT)
    for pattern in ("*.md", "docs/**/*.md", "recipes/**/*.md", "configs/**/*.md", "benchmarks/*.md")
    for path in ROOT.glob(pattern)
)
PROGRAMS = ("make", "alignment", "python", "accelerate", "sbatch")
_ASSIGNMENT = re.compile(r"[A-Z_]+=")
_INLINE = re.compile(r"`((?:make|alignment) [^`]+)`")


class Command(NamedTuple):
    """One command line of a page."""

    page: Path
    line: int
    words: tuple[str, ...]
    """Without variables before the program, and without a comment behind it."""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {shlex.join(self.words)}"


def commands_of(page: Path) -> Iterator[Command]:
    """The lines of code blocks that begin with one of `PROGRAMS`; a backslash at the end continues a line.

    Lines with a prompt, `$ make ...`, show what a mistake is told, and are not among them.
    """
    for number, line in blocks(page):
        words = shlex.split(line, comments=True) if mentions(line) else []
        while words and _ASSIGNMENT.match(words[0]):
            words.pop(0)
        if words and words[0] in PROGRAMS:
            yield Command(page, number, tuple(words))


def inline_of(page: Path) -> Iterator[Command]:
    """Commands named in running text, which may leave values out: `make train RECIPE=`."""
    for number, line in enumerate((ROOT / page).read_text(encoding="utf-8").splitlines(), 1):
        for text in _INLINE.findall(line):
            yield Command(page, number, tuple(text.split()))


def blocks(page: Path) -> Iterator[tuple[int, str]]:
    """Lines of fenced and indented code, with their numbers."""
    fenced, pending, first = False, "", 0
    for number, line in enumerate((ROOT / page).read_text(encoding="utf-8").splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            first = first if pending else number
            pending += line.strip()
            if pending.endswith("\\"):
                pending = pending[:-1]
                continue
            yield first, pending
            pending = ""


def mentions(line: str) -> bool:
    """Whether a line of code is a command, of which quotes must be closed."""
    words = [word for word in line.split() if not _ASSIGNMENT.match(word)]
    return bool(words) and words[0] in PROGRAMS
