"""One split of one source: found, checked, kept, with the facts of where its rows came from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from alignment.data.arrow import open_rows
from alignment.data.check import ALGORITHM, EVERYTHING, Rows, write_checked
from alignment.data.disk_cache import digest_of_file, keep
from alignment.data.files import FileRows, find_local, read_local
from alignment.data.fingerprint import content_fingerprint, digest_of
from alignment.data.form import Kind
from alignment.data.formats import Asked
from alignment.data.remote import read_remote
from alignment.data.row_findings import Verdict
from alignment.data.slices import slice_of, split_name
from alignment.errors import DataError, Fault
from alignment.files import shown_path

if TYPE_CHECKING:
    from datasets import Dataset

    from alignment.recipe.schema import DataArguments


@dataclass(frozen=True, kw_only=True)
class SourceFacts:
    """One source as it was read, for the run manifest."""

    id: str
    """Hub id or local path, as the recipe has it."""
    config: str | None
    split: str
    revision: str | None
    """Commit on the Hub; `None` for local data."""
    rows: int
    """Good rows of the split, before `weight`: of scored answers, pairs."""
    fingerprint: str
    """sha256 of the good rows."""
    weight: float
    """Share of the rows that was kept."""
    dropped: Mapping[str, int]
    """Bad rows left out, by reason."""
    format: str = ""
    """The format in which its rows were read (`alignment.data.formats`)."""
    read: int | None = None
    """Rows of the split, good or not."""
    unread: tuple[str, ...] = ()
    """Columns, and keys of messages, that training has no use for."""
    files: Mapping[str, int] = field(default_factory=dict)
    """Rows of each local file of the split, bad ones included; empty for other sources."""

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.split} of {self.id}"


def without_rows(
    sources: Sequence[SourceFacts], rows: Dataset, dropped: Mapping[str, Sequence[int]]
) -> tuple[SourceFacts, ...]:
    """The facts of sources once some of their rows are left out.

    Args:
        rows: checked rows of any of the sources.
        dropped: reason -> numbers of rows.
    """
    lost: dict[str, Counter[str]] = {}
    for reason, numbers in dropped.items():
        for origin in rows.select(list(numbers))["origin"]:
            lost.setdefault(origin["source"], Counter())[reason] += 1
    return tuple(_without(facts, lost.get(facts.name, Counter())) for facts in sources)


def _without(facts: SourceFacts, lost: Counter[str]) -> SourceFacts:
    return replace(facts, rows=facts.rows - lost.total(), dropped=dict(Counter(facts.dropped) + lost))


class Request(NamedTuple):
    id: str
    config: str | None
    split: str
    revision: str | None
    asked: Asked = EVERYTHING
    weight: float = 1.0

    @property
    def name(self) -> str:
        """What messages call these rows: `train of data/pairs.jsonl`."""
        return f"{self.split} of {shown_path(self.id)}"


class Loaded(NamedTuple):
    dataset: Dataset
    facts: SourceFacts
    taken: range
    """Which rows of the split, as it was stored."""


class Source(NamedTuple):
    """What a request names, found but not read."""

    rows: Dataset | FileRows
    commit: str | None
    content: Sequence[str]
    """Digests of the files that hold the rows."""
    files: Mapping[str, int]
    """Local file -> rows, as far as it is known without reading them."""


def load_source(request: Request, *, data: DataArguments, kind: Kind, cache: Path) -> Loaded:
    name = request.name
    source = find_source(request)
    key = digest_of(
        {
            "algorithm": ALGORITHM,
            "content": source.content,
            "kind": kind,
            "name": name,
            "asked": request.asked.as_dict(),
        }
    )
    num_proc = data.dataset_num_proc
    kept = keep(cache / "rows" / key, lambda folder: _checked(source, request, folder, kind, name, num_proc))
    verdict = Verdict.from_dict(kept.facts["verdict"])
    verdict.require(data.on_bad_row, name)
    facts = SourceFacts(
        id=shown_path(request.id),
        config=request.config,
        split=request.split,
        revision=source.commit,
        rows=verdict.good,
        read=verdict.rows,
        fingerprint=kept.facts["fingerprint"],
        weight=request.weight,
        dropped=verdict.dropped,
        format=verdict.format,
        unread=verdict.unread,
        files=kept.facts["files"],
    )
    return Loaded(open_rows(kept.folder), facts, range(*kept.facts["taken"]))


def find_source(request: Request) -> Source:
    """What a request names, without reading its rows.

    Raises:
        DataError: it cannot be found or fetched.
    """
    path, split = find_local(request.id), split_name(request.split)
    if path is None:
        rows, commit = read_remote(request.id, split, request.config, request.revision)
        return Source(rows, commit, _content(rows), {})
    if request.revision is not None:
        raise DataError(
            Fault(
                key=request.id,
                rule=f"is local, so it has no revision {request.revision}",
                remedy="leave the revision out, or rename the local folder if the Hub was meant",
            )
        )
    local = read_local(path, split, request.config)
    return Source(local.rows, None, _content(local.rows), local.files)


def _content(rows: Dataset | FileRows) -> list[str]:
    files = rows.files if isinstance(rows, FileRows) else [Path(file["filename"]) for file in rows.cache_files]
    return [digest_of_file(file) for file in files] or [content_fingerprint(rows)]


def _checked(
    source: Source, request: Request, folder: Path, kind: Kind, name: str, num_proc: int | None
) -> dict[str, Any]:
    """Check the requested rows and write the good ones to `folder`; returns what `load_source` needs."""
    rows, files = source.rows, dict(source.files)
    part: Rows = rows
    taken = None
    if split_name(request.split) != request.split:
        total = sum(1 for _ in rows) if isinstance(rows, FileRows) else len(rows)
        taken = slice_of(request.split, total)
        part = islice(rows, taken.start, taken.stop) if isinstance(rows, FileRows) else rows.select(taken)
        files = dict(rows.counts) if isinstance(rows, FileRows) else files
    verdict = write_checked(part, folder, kind=kind, name=name, asked=request.asked, num_proc=num_proc)
    taken = range(verdict.rows) if taken is None else taken
    files = files or (dict(rows.counts) if isinstance(rows, FileRows) else {})
    _refuse_empty(files, name)
    return {
        "verdict": verdict.as_dict(),
        "fingerprint": content_fingerprint(open_rows(folder)),
        "taken": [taken.start, taken.stop],
        "files": files,
    }


def _refuse_empty(files: Mapping[str, int], name: str) -> None:
    """One file without rows among others that have some is a copy that did not arrive."""
    empty = next((file for file, rows in files.items() if not rows), None)
    if empty is not None and any(files.values()):
        raise DataError(Fault(key=name, value=empty, rule="has no rows", remedy="fetch it again, or remove it"))
