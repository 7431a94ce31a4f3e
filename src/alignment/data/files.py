"""Local data: which files of a file or folder make up a split, and their rows.

JSON and JSON Lines are read with the standard library rather than through Arrow: Arrow refuses a whole file
(or casts it) when one row has another type than the rest, and could not say which row that was.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from alignment.data.pairs import RowFault
from alignment.errors import DataError, Fault, did_you_mean

if TYPE_CHECKING:
    from datasets import Dataset

JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")
SUFFIXES = (*JSON_SUFFIXES, ".parquet")
METADATA = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")

_SHARD = re.compile(r"-\d{5}-of-\d{5}$")
_SPLIT_WORD = re.compile(
    r"(^|[-_.])(train|training|test|testing|valid|validation|val|dev|eval)([-_.]|$)", re.IGNORECASE
)


class JsonRows(NamedTuple):
    """Rows as Python objects, as nothing is known about their types yet."""

    rows: list[Mapping[str, Any] | RowFault]
    """A line that is no JSON object is a `RowFault` in its place, so that the others keep their index."""
    places: list[str]
    """File and line of each row, for messages."""


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


def read_local(path: Path, split: str, config: str | None = None) -> Dataset | JsonRows:
    """The rows of one split of a local file or folder, in the order of the files.

    A single file is the split `train` (or the split it is named after). A folder holds the output of
    `save_to_disk`, or files named after their split: `train.jsonl`, `data/test-00000-of-00002.parquet`,
    `train/anything.parquet`; a subfolder named `config` is entered first.

    Raises:
        DataError: no such split or config, or a file that cannot be read.
    """
    if config is not None:
        path = _config_folder(path, config)
    if path.is_dir() and ((path / "dataset_dict.json").exists() or (path / "state.json").exists()):
        return _read_saved(path, split)
    files = _split_files(path, split)
    kinds = {file.suffix in JSON_SUFFIXES for file in files}
    if len(kinds) > 1:
        raise DataError(
            Fault(
                key=str(path),
                rule=f"holds split {split} both as JSON and as Parquet",
                remedy=f"name the file to use: {files[0]} or {files[-1]}",
            )
        )
    return _read_json(files) if kinds == {True} else _read_parquet(files)


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


def _split_files(path: Path, split: str) -> list[Path]:
    if path.is_file():
        if path.suffix not in SUFFIXES:
            raise DataError(
                Fault(
                    key=str(path),
                    rule=f"is not one of {', '.join(SUFFIXES)}",
                    remedy="convert it to JSON Lines",
                )
            )
        if split == _split_name(path, path.parent):
            return [path]
        groups = {"train": [path]}
    else:
        groups = {}
        for file in sorted(path.rglob("*")):
            hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
            if file.is_file() and file.suffix in SUFFIXES and file.name not in METADATA and not hidden:
                groups.setdefault(_split_name(file, path), []).append(file)
        if not groups:
            raise DataError(Fault(key=str(path), rule=f"holds no {', '.join(SUFFIXES)} file"))
        if split == "train" and not any(_SPLIT_WORD.search(name) for name in groups):
            # Files that are named after no split at all are training data, as the Hub has it.
            return [file for files in groups.values() for file in files]
    if split not in groups:
        raise _no_split(path, split, list(groups))
    return groups[split]


def _split_name(file: Path, root: Path) -> str:
    stem = _SHARD.sub("", file.stem)
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
        raise _unreadable(path, error) from error
    if isinstance(saved, datasets.Dataset):
        # A data set that was saved alone may remember no split; then it is the training data.
        name = str(saved.split) if saved.split is not None else "train"
        if split not in (name, "train"):
            raise _no_split(path, split, [name])
        return saved
    if split not in saved:
        raise _no_split(path, split, list(saved))
    return saved[split]


def _read_parquet(files: list[Path]) -> Dataset:
    import datasets
    import pyarrow

    try:
        return datasets.Dataset.from_parquet([str(file) for file in files])
    except (OSError, ValueError, pyarrow.ArrowException, datasets.exceptions.DatasetsError) as error:
        raise _unreadable(files[0], error.__cause__ or error) from error


def _read_json(files: list[Path]) -> JsonRows:
    rows: list[Mapping[str, Any] | RowFault] = []
    places: list[str] = []
    for file in files:
        for row, place in _json_array(file) if _is_array(file) else _json_lines(file):
            rows.append(row if isinstance(row, Mapping | RowFault) else RowFault("not a JSON object"))
            places.append(place)
    return JsonRows(rows, places)


def _is_array(file: Path) -> bool:
    with _open(file) as stream:
        for line in stream:
            if text := line.removeprefix(b"\xef\xbb\xbf").strip():
                # A line of its own may be a list too, which is a bad row and no array of rows.
                return text.startswith(b"[") and not (file.suffix != ".json" and text.endswith(b"]"))
    return False


def _json_array(file: Path) -> Iterator[tuple[Any, str]]:
    with _open(file) as stream:
        content = stream.read()
    try:
        rows = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise _unreadable(file, error) from error
    yield from ((row, file.name) for row in rows)


def _json_lines(file: Path) -> Iterator[tuple[Any, str]]:
    with _open(file) as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            place = f"{file.name} line {number}"
            try:
                yield json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8")), place
            except (ValueError, RecursionError) as error:
                yield RowFault("malformed JSON", str(error)), place


def _open(file: Path) -> Any:
    try:
        return file.open("rb")
    except OSError as error:
        raise _unreadable(file, error) from error


def _unreadable(path: Path, error: BaseException) -> DataError:
    first_line = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
    return DataError(Fault(key=str(path), rule=f"cannot be read: {first_line}"))
