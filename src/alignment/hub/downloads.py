"""A model or data set of the Hub onto this machine: only what training reads, at one commit, and checked."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from huggingface_hub import HfApi, constants, hf_hub_download, snapshot_download, try_to_load_from_cache

from alignment.errors import Fault, SetupError
from alignment.hub.bundled import is_bundled, resolve_bundled
from alignment.hub.errors import explained, retrying

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

_BESIDE_WEIGHTS = ("*.json", "*.jinja", "*.model", "*.txt", "*.py", "*.md", "additional_chat_templates/*.jinja")
_WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")
"""Formats of weights in the order of preference; other copies (`original/`, `consolidated.*`, GGUF) stay away."""
_BLOCK = 1 << 20
_MARGIN = 1 << 30
"""Bytes that should be left on the disk."""


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A model as it lies on this machine."""

    id: str
    """As the recipe has it."""
    source: Literal["hub", "local", "bundled"]
    """Where it came from."""
    revision: str | None
    """Commit; `None` for what is not from the Hub."""
    folder: Path
    """Where it lies."""
    files: int
    """Files that were fetched, or found."""
    bytes: int
    """Their size."""


def fetch_model(name: str, *, revision: str = "main", weights: bool = True, key: str = "model_name_or_path") -> Fetched:
    """Have a model in the Hub's cache, every file compared with the Hub's own digests.

    Resumes what was interrupted. With `HF_HUB_OFFLINE` it checks that the cache has everything.

    Args:
        name: Hub id, local folder, or `bundled:<model>`.
        revision: branch, tag or commit.
        weights: `False` for a tokenizer alone.
        key: the recipe key that named it, for messages.

    Raises:
        SetupError: unknown, gated or private without access, no such revision, no network, no room.
    """
    if is_bundled(name):
        return _found(name, "bundled", resolve_bundled(name))
    if Path(name).is_dir():
        return _found(name, "local", Path(name))
    with explained(name, key=key, revision=revision):
        if constants.HF_HUB_OFFLINE:
            folder = Path(
                snapshot_download(name, revision=revision, local_files_only=True, allow_patterns=["config.json"])
            )
            return _found(name, "hub", folder, revision=folder.name)
        api = HfApi()
        info = retrying(
            lambda: api.model_info(name, revision=revision, files_metadata=True), what=f"Asking the Hub about {name}"
        )
        wanted = wanted_files(info.siblings or [], weights=weights)
        _check_room(name, wanted, key=key)
        folder = retrying(
            lambda: Path(
                snapshot_download(
                    name, revision=revision, allow_patterns=[file.rfilename for file in wanted], max_workers=8
                )
            ),
            what=f"Downloading {name}",
        )
        _check_content(folder, wanted, name=name, key=key)
        return Fetched(
            id=name,
            source="hub",
            revision=folder.name,
            folder=folder,
            files=len(wanted),
            bytes=sum(file.size or 0 for file in wanted),
        )


def fetch_dataset_file(repository: str, name: str, *, key: str) -> Path:
    """One file of a data set, from the cache or from the Hub.

    Args:
        key: recipe key that needs it, for messages.

    Raises:
        SetupError: as `fetch_model`.
    """
    found = try_to_load_from_cache(repository, name, repo_type="dataset")
    if isinstance(found, str):
        return Path(found)
    with explained(repository, key=key, kind="dataset"):
        return Path(
            retrying(lambda: hf_hub_download(repository, name, repo_type="dataset"), what=f"Downloading {name}")
        )


def dataset_commit(name: str, *, revision: str | None, key: str = "dataset_name") -> str | None:
    """The commit of a data set on the Hub, once it is sure that this account may read it and that it fits.

    `None` with `HF_HUB_OFFLINE`, where the cache alone decides.

    Raises:
        SetupError: as `fetch_model`.
    """
    if constants.HF_HUB_OFFLINE:
        return None
    api = HfApi()
    with explained(name, key=key, revision=revision, kind="dataset"):
        info = retrying(
            lambda: api.dataset_info(name, revision=revision, files_metadata=True), what=f"Asking the Hub about {name}"
        )
        _check_room(name, info.siblings or [], key=key)
        if info.gated:
            retrying(lambda: api.auth_check(name, repo_type="dataset"), what=f"Asking for access to {name}")
    return info.sha


def wanted_files(siblings: Iterable[RepoSibling], *, weights: bool = True) -> list[RepoSibling]:
    """The files of a model repository that `from_pretrained` reads, without second copies of the weights."""
    siblings = list(siblings)
    wanted = [file for file in siblings if _matches(file.rfilename, _BESIDE_WEIGHTS)]
    if not weights:
        return wanted
    for pattern in _WEIGHTS:
        if found := [file for file in siblings if _matches(file.rfilename, [pattern])]:
            return wanted + found
    return wanted


def _matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a pattern fits; `*` stands for no slash, so that copies in subfolders stay away."""
    return any(fnmatchcase(name, pattern) and name.count("/") == pattern.count("/") for pattern in patterns)


def _found(name: str, source: Any, folder: Path, *, revision: str | None = None) -> Fetched:
    """What lies in a folder already."""
    if not (folder / "config.json").is_file():
        raise SetupError(
            Fault(
                key="model_name_or_path",
                value=name,
                rule="is a folder without config.json",
                remedy="name a folder that save_pretrained wrote, or a Hub id",
            )
        )
    sizes = [path.stat().st_size for path in folder.iterdir() if path.is_file()]
    return Fetched(id=name, source=source, revision=revision, folder=folder, files=len(sizes), bytes=sum(sizes))


def _check_room(name: str, files: Iterable[RepoSibling], *, key: str) -> None:
    """There is room for what is not in the cache yet."""
    cache = Path(constants.HF_HUB_CACHE)
    standing = next(folder for folder in (cache, *cache.parents) if folder.exists())
    have = {path.name for path in cache.glob(f"*--{name.replace('/', '--')}/blobs/*")}
    missing = sum(
        file.size or 0 for file in files if (file.lfs.sha256 if file.lfs is not None else file.blob_id) not in have
    )
    free = shutil.disk_usage(standing).free
    if missing and free < missing + _MARGIN:
        raise SetupError(
            Fault(
                key=key,
                value=name,
                rule=f"needs {missing / 1e9:.1f} GB more and {standing} has {free / 1e9:.1f} GB left",
                remedy="make room, or set HF_HOME to a folder on a larger disk",
            )
        )


def _check_content(folder: Path, files: Sequence[RepoSibling], *, name: str, key: str) -> None:
    """Every file has the size and, where the Hub tells a digest, the content it should have.

    A damaged file is removed from the cache, so that the next call fetches it again.
    """
    with ThreadPoolExecutor(max_workers=4) as pool:
        sound = list(pool.map(lambda file: _is_sound(folder / file.rfilename, file), files))
    damaged = [file.rfilename for file, good in zip(files, sound, strict=True) if not good]
    for path in damaged:
        (folder / path).resolve().unlink(missing_ok=True)
        (folder / path).unlink(missing_ok=True)
    if damaged:
        raise SetupError(
            Fault(
                key=key,
                value=name,
                rule=f"was damaged on this disk and is removed from the cache: {', '.join(damaged)}",
                remedy="run the same command again; it fetches these files only",
            )
        )


def _is_sound(path: Path, file: RepoSibling) -> bool:
    if not path.is_file() or (file.size is not None and path.stat().st_size != file.size):
        return False
    return file.lfs is None or _sha256(path) == file.lfs.sha256


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
