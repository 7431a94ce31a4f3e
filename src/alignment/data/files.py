"""Local data: which files of a file or folder make up a split. None is left out unnamed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from alignment.data.messages import RowFault
from alignment.data.readers import JSON_SUFFIXES, TABLE_SUFFIXES, read_rows, unreadable
from alignment.data.sniff import is_settings
from alignment.errors import DataError, Fault, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset

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


class FileRows:
    """Rows as Python objects, read as they are asked for, as nothing is known about their types yet."""

    def __init__(self, files: Mapping[Path, str]) -> None:
        """
        Args:
            files: and what each is called within its folder.
        """
        self._names = files
        self.counts: dict[str, int] = {}
        """Rows of each file, as far as the last iteration came."""

    @property
    def files(self) -> list[Path]:
        return list(self._names)

    def __iter__(self) -> Iterator[tuple[Mapping[str, Any] | RowFault, str]]:
        """Rows and their places (see `read_rows`)."""
        self.counts = dict.fromkeys(self._names.values(), 0)
        for file, name in self._names.items():
            for row in read_rows(file, kind_of_file(file)):
                self.counts[name] += 1
                yield row


class Local(NamedTuple):
    """One split of a local file or folder."""

    rows: Dataset | FileRows
    files: Mapping[str, int] = {}
    """Rows of each file that says how many it has."""


def kind_of_file(file: Path) -> str:
    """The suffix that says what a file holds, in lower case and without that of a compression."""
    return _inner(file)[1]


def _inner(file: Path) -> tuple[str, str]:
    """Stem and suffix, without a compression's."""
    name = file.name
    if file.suffix.lower() in COMPRESSIONS:
        name = file.stem
    return Path(name).stem, Path(name).suffix.lower()


def find_local(value: str, base: Path | None = None) -> Path | None:
    """The file or folder that `value` names, in the working directory first, then in the recipe's folder.

    Returns `None` for what can only be a Hub id.

    Raises:
        DataError: `value` is written as a path, and nothing is there.
    """
    written = Path(value).expanduser()
    candidates = [written] if base is None or written.is_absolute() else [written, base / written]
    for path in candidates:
        if path.exists():
            return path
    if written.is_absolute() or value.startswith((".", "~")) or value.count("/") > 1 or written.suffix in SUFFIXES:
        beside = [name.name for path in candidates if path.parent.is_dir() for name in path.parent.iterdir()]
        looked = "" if len(candidates) == 1 else f", neither in the working directory nor in {base}"
        raise DataError(
            Fault(
                key="dataset",
                value=value,
                rule=f"does not exist{looked}",
                remedy=did_you_mean(written.name, beside) or "check the path",
            )
        )
    return None


def read_local(path: Path, split: str, config: str | None = None) -> Local:
    """The rows of one split of a local file or folder, in the order of the files.

    A single file is the split `train` (or the split it is named after). A folder holds the output of
    `save_to_disk`, or files named after their split: `train.jsonl`, `data/test-00000-of-00002.parquet`,
    `train/anything.parquet`; a subfolder named `config` is entered first.

    Raises:
        DataError: no such split or config, a file that cannot be read, or one that belongs to no split.
    """
    if config is not None:
        path = _config_folder(path, config)
    if path.is_dir() and ((path / "dataset_dict.json").exists() or (path / "state.json").exists()):
        return Local(_read_saved(path, split))
    files = split_files(path, split)
    kinds = {kind_of_file(file) == PARQUET for file in files}
    if len(kinds) > 1:
        raise DataError(
            Fault(
                key=str(path),
                rule=f"holds split {split} both as JSON and as Parquet",
                remedy=f"name the file to use: {files[0]} or {files[-1]}",
            )
        )
    root = path if path.is_dir() else path.parent
    names = {file: str(file.relative_to(root)) for file in files}
    return _read_parquet(names) if kinds == {True} else Local(FileRows(names))


def _config_folder(path: Path, config: str) -> Path:
    if path.is_dir() and (path / config).is_dir():
        return path / config
    names = sorted(child.name for child in path.iterdir() if child.is_dir()) if path.is_dir() else []
    raise DataError(
        Fault(
            key=str(path),
            rule=f"has no config (subfolder) {config}",
            remedy=did_you_mean(config, names) or "leave dataset_config out for a local file or folder without configs",
        )
    )


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
        raise _no_split(path, split, list(groups))
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
        hidden = any(part.startswith((".", "_")) for part in file.relative_to(path).parts)
        if hidden or not file.is_file() or _is_beside(file):
            if file.is_symlink() and not file.exists():
                raise DataError(Fault(key=str(file), rule="is a link to nothing", remedy="mend or remove it"))
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
    if file.name in METADATA or file.suffix.lower() in (*BESIDE, *PICTURES) or _DOCUMENTS.match(file.name):
        return True
    return file.suffix == ".json" and not _SPLIT_WORD.search(file.stem) and is_settings(file)


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


def _no_split(path: Path, split: str, names: list[str]) -> DataError:
    remedy = did_you_mean(split, names) or f"its splits are {', '.join(sorted(names))}"
    return DataError(Fault(key=str(path), rule=f"has no split {split}", remedy=remedy))


def _read_saved(path: Path, split: str) -> Dataset:
    import datasets
    import pyarrow

    try:
        saved = datasets.load_from_disk(str(path))
    except (OSError, ValueError, KeyError, pyarrow.ArrowException) as error:
        raise unreadable(path, error) from error
    if isinstance(saved, datasets.Dataset):
        # A data set that was saved alone may remember no split; then it is the training data.
        name = str(saved.split) if saved.split is not None else "train"
        if split not in (name, "train"):
            raise _no_split(path, split, [name])
        return saved
    if split not in saved:
        raise _no_split(path, split, list(saved))
    return saved[split]


def _read_parquet(files: Mapping[Path, str]) -> Local:
    import datasets
    import pyarrow
    import pyarrow.parquet

    counts = {}
    for file, name in files.items():
        try:
            found = pyarrow.parquet.read_metadata(file)
        except (OSError, ValueError, pyarrow.ArrowException) as error:
            raise unreadable(file, error) from error
        columns = found.schema.to_arrow_schema().names
        if twice := [column for column in columns if columns.count(column) > 1]:
            raise DataError(Fault(key=str(file), rule=f"has column {twice[0]} twice", remedy="keep one of them"))
        counts[name] = found.num_rows
    try:
        return Local(datasets.Dataset.from_parquet([str(file) for file in files]), counts)
    except (OSError, ValueError, pyarrow.ArrowException, datasets.exceptions.DatasetsError) as error:
        raise unreadable(next(iter(files)), error.__cause__ or error) from error
