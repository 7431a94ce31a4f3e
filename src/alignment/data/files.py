"""Local data: the rows of a split of a file or folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from alignment.data.folders import PARQUET, SUFFIXES, kind_of_file, no_split, split_files
from alignment.data.messages import RowFault
from alignment.data.readers import read_rows, unreadable
from alignment.errors import DataError, Fault, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset


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


def find_local(value: str) -> Path | None:
    """The file or folder that `value` names, or `None` for what can only be a Hub id.

    Raises:
        DataError: `value` is written as a path, and nothing is there.
    """
    written = Path(value).expanduser()
    if written.exists():
        return written
    if written.is_absolute() or value.startswith((".", "~")) or value.count("/") > 1 or written.suffix in SUFFIXES:
        beside = [path.name for path in written.parent.iterdir()] if written.parent.is_dir() else []
        raise DataError(
            Fault(
                key="dataset",
                value=value,
                rule="does not exist",
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
            raise no_split(path, split, [name])
        return saved
    if split not in saved:
        raise no_split(path, split, list(saved))
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
