"""What must never be published: credentials, and paths that tell about somebody's machine."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from alignment.errors import Fault

TEXT_SUFFIXES = frozenset({".json", ".jsonl", ".jinja", ".md", ".txt", ".py", ".yaml", ".yml", ".toml", ".cfg"})
_VOCABULARIES = frozenset({"tokenizer.json", "vocab.json", "merges.txt", "vocab.txt"})
"""Their strings are tokens of some language model; many a vocabulary has `/home/` in it."""

_CREDENTIALS = {
    "a Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{20,}\b"),
    "a wandb key": re.compile(r"(?i)wandb[\w-]*[\"']?\s*[:=]\s*[\"']?[0-9a-f]{40}\b|\bwandb_v1_[A-Za-z0-9_]{20,}"),
    "an OpenAI key": re.compile(r"\bsk-(?:proj-)?[A-Za-z0-9_-]{20,}"),
    "a GitHub token": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,})"),
    "an AWS key": re.compile(r"\bAKIA[0-9A-Z]{16}\b"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "an API key": re.compile(r"(?i)\bapi[_-]?key[\"']?\s*[:=]\s*[\"']?[A-Za-z0-9_-]{24,}"),
}
_HOME_OF_SOMEBODY = re.compile(r"(?:/home/|/Users/|[A-Za-z]:\\+Users\\+)[A-Za-z][\w.-]*[/\\]")
_SECRET_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "WANDB_API_KEY", "OPENAI_API_KEY", "ANTHROPIC_API_KEY")


def secret_faults(files: Iterable[tuple[str, bytes]], *, folder: Path) -> Iterator[Fault]:
    """A fault for each file (name, content) that holds a credential or a local path.

    The credential itself is not repeated in the message.
    """
    values = _own_secrets()
    places = _own_places(folder)
    for name, content in files:
        if Path(name).suffix not in TEXT_SUFFIXES:
            continue
        text = content.decode("utf-8", errors="replace")
        for what, line in _credentials(text, values):
            yield Fault(
                key=name,
                rule=f"holds {what} in line {line}",
                remedy="remove it there, revoke it, and push again; nothing was sent",
            )
        if Path(name).name in _VOCABULARIES:
            continue
        if (found := _local_path(text, places)) is not None:
            yield Fault(
                key=name,
                value=found,
                rule="is a path of this machine",
                remedy="name the model, the data or the folder without it; nothing was sent",
            )


def _credentials(text: str, values: dict[str, str]) -> Iterator[tuple[str, int]]:
    for what, pattern in _CREDENTIALS.items():
        if (match := pattern.search(text)) is not None:
            yield what, _line(text, match.start())
    for what, value in values.items():
        if (start := text.find(value)) >= 0:
            yield what, _line(text, start)


def _line(text: str, start: int) -> int:
    return text.count("\n", 0, start) + 1


def _own_secrets() -> dict[str, str]:
    """Credentials that this machine is logged in with: found whatever they look like."""
    from huggingface_hub import get_token

    found = {f"the value of {name}": os.environ.get(name, "") for name in _SECRET_VARIABLES}
    found["your Hugging Face token"] = get_token() or ""
    return {what: value for what, value in found.items() if len(value) >= 8}


def _own_places(folder: Path) -> tuple[str, ...]:
    """Prefixes of paths that only mean something here, longest first."""
    places = {Path.home(), Path.cwd(), folder.resolve().parent, Path(tempfile.gettempdir())}
    texts = {f"{place.as_posix().rstrip('/')}/" for place in places if place != Path(place.anchor)}
    return tuple(sorted(texts, key=len, reverse=True))


def _local_path(text: str, places: tuple[str, ...]) -> str | None:
    """The first local path of `text`, cut at white space and quotes."""
    # A URL may contain the same words: https://host/tmp/x is not a local path.
    starts = [match.start() for place in places for match in re.finditer(rf"(?<![\w.:/]){re.escape(place)}", text)]
    starts += [match.start() for match in _HOME_OF_SOMEBODY.finditer(text)]
    if not starts:
        return None
    return re.split(r"[\s\"'`<>|,;)]", text[min(starts) :], maxsplit=1)[0]
