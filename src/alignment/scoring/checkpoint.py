"""Where a scoring model lies, what its files say it is, and how it is put on a device."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from alignment.errors import Fault, SetupError, UserError, did_you_mean, sentence_of
from alignment.hub.bundled import is_bundled
from alignment.hub.downloads import fetch_model
from alignment.modeling.auto_class import without_report

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"


def find_checkpoint(name: str, *, revision: str = "main") -> Path:
    """The folder of a scoring model, downloaded where `name` is a Hub id.

    Raises:
        SetupError: there is no such folder or repository, or it is no model.
    """
    folder = Path(name).expanduser()
    if folder.is_dir() and not (folder / "config.json").is_file():
        adapter = (folder / "adapter_config.json").is_file()
        rule = "holds an adapter alone" if adapter else "holds no config.json, so it is no model"
        remedy = "merge it into its base model first" if adapter else "give a folder written by save_pretrained"
        raise SetupError(Fault(key="scorer", value=name, rule=rule, remedy=remedy))
    if not folder.is_dir() and not is_bundled(name) and _is_path(name):
        raise SetupError(
            Fault(key="scorer", value=name, rule="does not exist", remedy="give a folder, a Hub id or module:function")
        )
    return fetch_model(str(folder) if folder.is_dir() else name, revision=revision, key="scorer").folder


def read_config(folder: Path, name: str) -> dict[str, Any]:
    """The settings in `config.json`.

    Raises:
        SetupError: it cannot be read.
    """
    with explained(name):
        config = json.loads((folder / "config.json").read_text("utf-8"))
    if not isinstance(config, dict):
        raise SetupError(Fault(key="scorer", value=name, rule="has a config.json that holds no settings"))
    return config


def tensor_files(folder: Path, name: str) -> dict[str, Path]:
    """Name of each tensor -> the safetensors file that holds it.

    Raises:
        SetupError: no safetensors, or a shard is missing or damaged.
    """
    with explained(name):
        if (folder / _INDEX).is_file():
            placed = json.loads((folder / _INDEX).read_text("utf-8"))["weight_map"]
            return {tensor: folder / file for tensor, file in placed.items()}
        with safe_open(folder / _SINGLE, framework="pt") as file:
            return dict.fromkeys(file.keys(), folder / _SINGLE)


def read_tensors(files: dict[str, Path], name: str) -> dict[str, Tensor]:
    """The tensors themselves, in fp32 on the CPU.

    Raises:
        SetupError: a shard is missing or damaged, or lacks a tensor that the index places there.
    """
    tensors: dict[str, Tensor] = {}
    with explained(name):
        for path in sorted(set(files.values())):
            with safe_open(path, framework="pt") as file:
                tensors |= {tensor: file.get_tensor(tensor).float() for tensor, at in files.items() if at == path}
    return tensors


def device_and_dtype(device: str | None, dtype: str | None) -> tuple[torch.device, torch.dtype]:
    """Where and in what a scorer computes: as stated, else bf16 on a GPU and fp32 on a CPU.

    Raises:
        SetupError: no such device or dtype.
    """
    if dtype is not None and dtype not in DTYPES:
        remedy = did_you_mean(dtype, DTYPES)
        raise SetupError(Fault(key="dtype", value=dtype, rule=f"must be one of {', '.join(DTYPES)}", remedy=remedy))
    try:
        place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        rule = f"is no device of this machine: {sentence_of(error)}"
        raise SetupError(Fault(key="device", value=device, rule=rule, remedy="give cpu, cuda or cuda:1")) from error
    default = torch.float32 if place.type == "cpu" else torch.bfloat16
    return place, DTYPES[dtype] if dtype else default


def check_loaded(name: str, info: dict[str, Any], *, unused: tuple[str, ...]) -> None:
    """Raise `SetupError` unless every weight came from the checkpoint, and all of it but `unused` was read.

    Args:
        info: what `from_pretrained(..., output_loading_info=True)` tells.
        unused: tensors, or prefixes of them, that the scorer has no use for.
    """
    drawn = sorted([*info["missing_keys"], *(str(key[0]) for key in info["mismatched_keys"])])
    if drawn:
        raise SetupError(
            Fault(
                key="scorer",
                value=name,
                rule=f"holds no trained {_listed(drawn)}, which would be drawn at random",
                remedy="give a trained reward model; a language model alone has no score head",
            )
        )
    unread = sorted(key for key in info["unexpected_keys"] if not key.startswith(unused))
    if unread:
        raise SetupError(
            Fault(
                key="scorer",
                value=name,
                rule=f"holds {_listed(unread)}, which its architecture does not read",
                remedy="give a reward model of an architecture of transformers, or ArmoRM; no remote code is run",
            )
        )


@contextmanager
def loading(name: str) -> Iterator[None]:
    """`explained`, without the library's report of weights that do not fit: `check_loaded` tells of them."""
    with explained(name), without_report():
        yield


@contextmanager
def explained(name: str) -> Iterator[None]:
    """Turn what files and libraries refuse while a scoring model is loaded into a `SetupError`."""
    try:
        yield
    except UserError:
        raise
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        raise SetupError(
            Fault(
                key="scorer",
                value=name,
                rule=f"cannot be loaded: {sentence_of(error)}",
                remedy="give a complete folder written by save_pretrained, or a Hub id",
            )
        ) from error


def _listed(names: list[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _is_path(name: str) -> bool:
    return name.startswith(("/", "./", "../", "~")) or name in (".", "..") or name.count("/") > 1
