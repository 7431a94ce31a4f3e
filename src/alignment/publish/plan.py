"""What of a run's folder is published: a list of names that may go, never everything that lies there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

from huggingface_hub.utils.sha import git_hash

from alignment.evaluation.results import FILE, FOLDER
from alignment.output.folder import CARD, CURVES, MANIFEST
from alignment.report.card import build_card
from alignment.report.seal import edited_by_hand

EVALUATED = f"{FOLDER}/{FILE}"
WEIGHTS = ("model.safetensors", "model-*.safetensors", "model.safetensors.index.json")
PUBLISHED = (
    CARD,
    "LICENSE*",
    "NOTICE*",
    "USE_POLICY*",
    "config.json",
    "generation_config.json",
    *WEIGHTS,
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "additional_chat_templates/*.jinja",
    "*.py",
    CURVES,
    MANIFEST,
    "trainer_state.json",
    "all_results.json",
    "train_results.json",
    "eval_results.json",
    "before_after.json",
    EVALUATED,
)
"""Patterns of the names that go. Checkpoints, optimizer states and pickles (`training_args.bin`) are not among them."""

_STALE = (
    "*.safetensors",
    "*.safetensors.index.json",
    "pytorch_model*",
    "adapter_*",
    "training_args.bin",
    "*/optimizer*",
)


@dataclass(frozen=True)
class PlannedFile:
    """One file as it will be published."""

    name: str
    """Path in the repository."""
    source: Path | bytes
    """Where its content is, or the content itself when it differs from the folder's."""

    @cached_property
    def size(self) -> int:
        """Bytes."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size

    @cached_property
    def sha256(self) -> str:
        """The Hub's id of a large file."""
        if isinstance(self.source, bytes):
            return hashlib.sha256(self.source).hexdigest()
        with self.source.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    @cached_property
    def git_oid(self) -> str:
        """The Hub's id of a small file: that of a git blob."""
        return git_hash(self.content())

    def content(self) -> bytes:
        """All of it; for small files."""
        return self.source if isinstance(self.source, bytes) else self.source.read_bytes()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The files of one publication."""

    files: tuple[PlannedFile, ...]
    """In alphabetical order."""
    left_out: tuple[str, ...]
    """Names in the folder that stay there; folders end with a slash."""
    card_kept: bool
    """Whether the card was edited by hand and goes as it is."""
    stale: tuple[str, ...]
    """Patterns of files of an earlier publication that would be loaded beside the planned ones."""

    @property
    def bytes(self) -> int:
        """Size of it all."""
        return sum(file.size for file in self.files)

    def named(self, name: str) -> PlannedFile:
        """The file of that name; KeyError when it is not planned."""
        for file in self.files:
            if file.name == name:
                return file
        raise KeyError(name)


def plan_publication(folder: Path, *, repository: str) -> Plan:
    """What publishing the run in `folder` as `repository` would send; nothing is written or sent.

    The card is written anew for that repository, unless somebody edited it.

    Raises:
        SetupError: the folder holds no finished run.
    """
    fresh = build_card(folder, repository=repository)
    card_kept = keeps_card(folder)
    changed: dict[str, bytes] = {} if card_kept else {CARD: str(fresh).encode()}

    names = sorted({*_names(folder), *changed})
    chosen = [name for name in names if any(fnmatchcase(name, pattern) for pattern in PUBLISHED)]
    return Plan(
        files=tuple(PlannedFile(name, changed.get(name, folder / name)) for name in chosen),
        left_out=tuple(left_out(folder, set(chosen))),
        card_kept=card_kept,
        stale=_STALE,
    )


def keeps_card(folder: Path) -> bool:
    """Whether the card in a folder is its author's, and goes as it is."""
    path = folder / CARD
    return path.is_file() and edited_by_hand(path.read_text(encoding="utf-8"))


def stale_files(remote: Mapping[str, object], plan: Plan) -> list[str]:
    """Files of an earlier publication that would be loaded beside, or instead of, the planned ones."""
    planned = {file.name for file in plan.files}
    return sorted(
        name for name in remote if name not in planned and any(fnmatchcase(name, pattern) for pattern in plan.stale)
    )


def _names(folder: Path) -> Iterator[str]:
    """Files of the folder, and those in folders that may go."""
    for pattern in ("*", "additional_chat_templates/*", EVALUATED):
        yield from (path.relative_to(folder).as_posix() for path in folder.glob(pattern) if path.is_file())


def left_out(folder: Path, chosen: set[str]) -> Iterator[str]:
    """Names in the folder that stay there, given those that go."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not any(name.startswith(f"{path.name}/") for name in chosen):
            yield f"{path.name}/"
        elif path.is_file() and path.name not in chosen:
            yield path.name
