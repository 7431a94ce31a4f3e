"""Which files of a folder make up a split. None is left out unnamed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from alignment.data.file_kind import is_settings
from alignment.data.readers import JSON_SUFFIXES, TABLE_SUFFIXES
from alignment.errors import DataError, Fault, did_you_mean

OBJECT_SUFFIXES = (*JSON_SUFFIXES, *TABLE_SUFFIXES)
PARQUET = ".parquet"
SUFFIXES = (*OBJECT_SUFFIXES, PARQUET)
COMPRESSIONS = (".gz", ".zst", ".bz2", ".xz")
METADATA = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")

BESIDE = (".md", ".rst", ".yaml", ".yml", ".toml", ".py", ".ipynb", ".sh", ".lock", ".log", ".html", ".css", ".pdf")
PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp")
_DOCUMENTS = re.compile(
    r"(readme|licen[cs]e|notice|citation|authors|contributing|changelog|requirements|makefile)", re.I
)
"""Files that are no rows; whatever else is not read is named in an error."""

_SHARD = re.compile(r"-(\d+)-of-(\d+)$")
_SPLIT_WORD = re.compile(
    r"(^|[-_.])(train|training|test|testing|valid|validation|val|dev|eval)([-_.]|$)", re.IGNORECASE
)


def kind_of_file(file: Path) -> str:
    """The suffix that says what a file holds, in lower case and without that of a compression."""
    return _inner(file)[1]


def _inner(file: Path) -> tuple[str, str]:
    """Stem and suffix, without a compression's."""
    name = file.name
    if file.suffix.lower() in COMPRESSIONS:
        name = file.stem
    return Path(name).stem, Path(name).suffix.lower()


def split_files(path: Path, split: str) -> list[Path]:
    """The files of a split, all of them, or an error."""
    if path.is_file():
        if kind_of_file(path) not in SUFFIXES:
            raise _not_rows(path)
        if split == _split_name(path, path.parent):
            return [path]
        groups = {"train": [path]}
    else:
        groups = _groups(path)
        if split == "train" and not any(_SPLIT_WORD.search(name) for name in groups):
            # Files that are named after no split at all are training data, as the Hub has it.
            groups = {"train": [file for files in groups.values() for file in files]}
        _refuse_unassigned(path, groups, split)
    if split not in groups:
        raise no_split(path, split, list(groups))
    _refuse_copies(groups[split])
    _refuse_gaps(groups[split])
    return groups[split]


def _groups(path: Path) -> dict[str, list[Path]]:
    """Split -> files, of all files of a folder that hold rows.

    Raises:
        DataError: there are none, or one may hold rows and is nothing that can be read.
    """
    groups: dict[str, list[Path]] = {}
    unknown = []
    for file in sorted(path.rglob("*")):
        if any(part.startswith((".", "__")) for part in file.relative_to(path).parts):
            continue
        if file.is_symlink() and not file.exists():
            raise DataError(Fault(key=str(file), rule="is a link to nothing", remedy="mend or remove it"))
        if not file.is_file() or _is_beside(file):
            continue
        if kind_of_file(file) in SUFFIXES:
            groups.setdefault(_split_name(file, path), []).append(file)
        else:
            unknown.append(file)
    if unknown:
        raise DataError([_not_rows(file).faults[0] for file in unknown[:5]])
    if not groups:
        raise DataError(Fault(key=str(path), rule=f"holds no {', '.join(SUFFIXES)} file"))
    return groups


def _is_beside(file: Path) -> bool:
    """Whether a file lies beside rows and is none: documents, pictures, settings."""
    suffix = file.suffix.lower()
    if file.name in METADATA or suffix in (*BESIDE, *PICTURES) or _DOCUMENTS.match(file.name):
        return True
    if suffix == ".json" and not _SPLIT_WORD.search(file.stem):
        return is_settings(file)
    return file.name.startswith("_") and kind_of_file(file) not in SUFFIXES  # marks of Spark and Parquet


def _not_rows(file: Path) -> DataError:
    readable = f"{', '.join(SUFFIXES)}, or one of the first five compressed ({', '.join(COMPRESSIONS)})"
    remedy = "convert it to JSON Lines, or move it elsewhere if it holds no rows"
    return DataError(Fault(key=str(file), rule=f"is not one of {readable}", remedy=remedy))


def _refuse_unassigned(path: Path, groups: Mapping[str, list[Path]], split: str) -> None:
    """Files that look like rows and belong to no split, or to one that is easily taken for `split`."""
    astray = [name for name in groups if not _SPLIT_WORD.search(name) and name != split]
    if split in groups:
        astray += [name for name in groups if re.match(rf"{re.escape(split)}[-_.]", name)]
    if astray:
        file = groups[astray[0]][0]
        others = sum(len(groups[name]) for name in astray) - 1
        more = f", nor do {others} others" if others else ""
        remedy = f"name it {split}-00001-of-00002 and so on, set the split to its name, or move it elsewhere"
        raise DataError(Fault(key=str(file), rule=f"does not belong to split {split} by its name{more}", remedy=remedy))


def _refuse_copies(files: list[Path]) -> None:
    """The same rows twice, plain and compressed or in two formats."""
    stems: dict[Path, Path] = {}
    for file in files:
        stem = file.with_name(_inner(file)[0])
        if stem in stems:
            both = {kind_of_file(stems[stem]) == PARQUET, kind_of_file(file) == PARQUET}
            what = "both as JSON and as Parquet" if len(both) > 1 else "twice"
            rule = f"holds {stem.name} {what}: {stems[stem].name} and {file.name}"
            raise DataError(Fault(key=str(file.parent), rule=rule, remedy="remove one, or name the file to use"))
        stems[stem] = file


def _refuse_gaps(files: list[Path]) -> None:
    """Shards that say how many there are, and are fewer."""
    shards: dict[tuple[Path, str, int], set[int]] = {}
    for file in files:
        stem = _inner(file)[0]
        if found := _SHARD.search(stem):
            key = (file.parent, stem[: found.start()], int(found[2]))
            shards.setdefault(key, set()).add(int(found[1]))
    for (folder, name, count), there in shards.items():
        first = min(there)
        missing = [number for number in range(min(first, 1), min(first, 1) + count) if number not in there]
        if missing:
            rule = f"holds {len(there)} of {count} shards of {name}; the first that is missing is number {missing[0]}"
            raise DataError(Fault(key=str(folder), rule=rule, remedy="fetch it, or rename the shards"))


def _split_name(file: Path, root: Path) -> str:
    stem = _SHARD.sub("", _inner(file)[0])
    if _SPLIT_WORD.search(stem):
        return stem
    folders = file.relative_to(root).parts[:-1]
    return next((folder for folder in reversed(folders) if _SPLIT_WORD.search(folder)), stem)


def no_split(path: Path, split: str, names: list[str]) -> DataError:
    remedy = did_you_mean(split, names) or f"its splits are {', '.join(sorted(names))}"
    return DataError(Fault(key=str(path), rule=f"has no split {split}", remedy=remedy))
