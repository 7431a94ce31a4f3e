"""What a user did, told so that the user can mend it.

Everything raised from here is a fault of the recipe, the data or the environment. Entry points print it
on stderr without a traceback and exit with `EXIT_USER` (see `alignment.cli.exit`); any other exception is ours.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

EXIT_USER = 2
_MOST_FAULTS = 100
_LONGEST_KEY = 400
"""A key may hold a path and the line in a file, which must not be cut off."""
_LONGEST_WORD = 200
"""Characters of a name that are compared with known ones, which takes quadratic time."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that is wrong: where, what was found, what holds, how to mend it."""

    key: str
    """Dotted recipe key (`dataset_mixture.datasets[0].weight`), row (`row 17 of train`) or resource."""
    rule: str
    """What must hold, as a sentence part: "must be below max_length 2048"."""
    value: object = None
    """What was found; `None` when there is nothing to show."""
    remedy: str = ""
    """What to do about it, as a sentence part: "lower it, or raise max_length"."""
    source: str = ""
    """Where it was stated, when known: "lora.yaml:12", "command line"."""

    def __str__(self) -> str:
        found = "" if self.value is None else f" {_shown(self.value)}"
        remedy = f"; {self.remedy}" if self.remedy else ""
        source = f" [{self.source}]" if self.source else ""
        told = f"{_shown(self.key, _LONGEST_KEY) or '(empty key)'}{found} {self.rule.rstrip(' .')}{remedy}".rstrip(" .")
        return printable(f"{told}{'' if told.endswith('?') else '.'}{source}")


class UserError(Exception):
    """Base of every error that is not ours. Carries the faults, all at once."""

    title = "The run cannot start"

    def __init__(self, faults: Fault | Sequence[Fault], *, where: str = "") -> None:
        self.faults: tuple[Fault, ...] = (faults,) if isinstance(faults, Fault) else tuple(faults)
        self.where = where
        super().__init__(str(self))

    def __str__(self) -> str:
        where = f" ({printable(self.where)})" if self.where else ""
        shown = [f"  - {fault}" for fault in self.faults[:_MOST_FAULTS]]
        rest = len(self.faults) - len(shown)
        more = [f"  - and {rest} more of them."] if rest else []
        return "\n".join([f"{self.title}{where}:", *shown, *more])


class RecipeError(UserError):
    """A recipe, or a command-line override of it, that breaks a rule."""

    title = "The recipe is not valid"


class DataError(UserError):
    """Rows that cannot be trained on, or data that cannot be found or read."""

    title = "The data cannot be used"


class SetupError(UserError):
    """The machine, the account or the network does not offer what the command needs."""

    title = "The command cannot run here"


class Preempted(Exception):
    """The run was told to stop and its work is saved. Nobody's fault: entry points exit with 0."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A remedy such as `did you mean gamma_beta_ratio?`, or an empty string when nothing is near."""
    near = difflib.get_close_matches(str(name)[:_LONGEST_WORD], list(known), n=2, cutoff=0.6)
    return f"did you mean {' or '.join(near)}?" if near else ""


def sentence_of(error: BaseException, limit: int = 300) -> str:
    """What an exception says, on one line and without its full stop, so that a sentence of ours can go on."""
    said = " ".join(str(error).split()).rstrip(". ") or type(error).__name__
    return said if len(said) <= limit else f"{said[:limit]}…"


def printable(text: str) -> str:
    """`text` with control characters and halves of characters as escapes, so that any terminal can show it."""
    return "".join(
        character if character.isprintable() or character in "\n\t" else ascii(character)[1:-1] for character in text
    )


def _shown(value: object, limit: int = 120) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
