"""The files of a model folder, looked at before anything loads them: is each what its name says?"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from alignment.errors import Fault, sentence_of

CONFIG, GENERATION, ADAPTER = "config.json", "generation_config.json", "adapter_config.json"
TOKENIZER_FILES = ("tokenizer_config.json", "tokenizer.json", "special_tokens_map.json", "added_tokens.json")
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLE, PICKLE_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
_VOCABULARIES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "*.model",
    "*.tiktoken",
    "*tekken*.json",
)
_REAL = frozenset({"F64", "F32", "F16", "BF16"})
_LAYERS = frozenset({"num_hidden_layers", "num_layers", "n_layer", "n_layers"})
_AGAIN = "save or download it again"

OPENINGS: Mapping[bytes, str] = {
    b"version https://git-lfs": "is a pointer of Git LFS, not the file itself (`git lfs pull` fetches it)",
    b"<": "is a web page, not the file itself",
    b"PK\x03\x04": "is a zip archive",
    b"\x1f\x8b": "is compressed",
    b"GGUF": "is a GGUF file",
}
"""How a file begins that was saved under a name that promises something else."""


def tokenizer_faults(folder: Path) -> Iterator[Fault]:
    """What is wrong with the files of the tokenizer, or that there are none: then it would be made from nothing."""
    for name in TOKENIZER_FILES:
        yield from _object_faults(folder / name)
    if not any(path.is_file() for pattern in _VOCABULARIES for path in folder.glob(pattern)):
        yield Fault(
            key=str(folder),
            rule="holds no tokenizer (no tokenizer.json)",
            remedy="copy the one that belongs to the model into it, or name it with tokenizer_name_or_path",
        )


def model_faults(folder: Path) -> Iterator[Fault]:
    """What is wrong with configuration, generation settings and weights; the files' insides, not their values."""
    if folder.is_file():
        yield Fault(key=str(folder), rule="is a file, and must be the folder of a model", remedy="name its folder")
        return
    if (folder / ADAPTER).exists():
        yield Fault(
            key=str(folder / ADAPTER),
            rule="makes this the folder of an adapter, whose base model would be loaded from elsewhere",
            remedy="merge the adapter into its base model and name the merged folder",
        )
        return
    if not (folder / CONFIG).exists():
        yield Fault(key=str(folder), rule=f"holds no {CONFIG}", remedy="give a folder with a saved model, or a Hub id")
        return
    configuration = [*_object_faults(folder / CONFIG), *_object_faults(folder / GENERATION)]
    yield from configuration or _weight_faults(folder)


def stored_tensors(folder: Path) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor in the safetensors files that loading would read; empty without any."""
    shapes: dict[str, tuple[int, ...]] = {}
    for path in _weight_files(folder):
        with safe_open(path, framework="pt") as file:
            shapes |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    return shapes


def _weight_files(folder: Path) -> list[Path]:
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        return sorted({folder / name for name in json.loads((folder / INDEX).read_bytes())["weight_map"].values()})
    return []


def _weight_faults(folder: Path) -> Iterator[Fault]:
    if not (folder / WEIGHTS).is_file() and (folder / INDEX).exists():
        faults = [*_object_faults(folder / INDEX)] or [*_index_faults(folder)]
        if faults:
            yield from faults
            return
    files = _weight_files(folder)
    if not files and not any((folder / name).is_file() for name in (PICKLE, PICKLE_INDEX)):
        there = ", ".join(sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))[:8])
        yield Fault(
            key=str(folder),
            rule=f"holds no weights: neither {WEIGHTS} nor {INDEX} (there is: {there})",
            remedy=_AGAIN,
        )
        return
    config = json.loads((folder / CONFIG).read_bytes())
    faults = [fault for path in files for fault in _safetensors_faults(path, quantized="quantization_config" in config)]
    yield from faults or _layer_faults(folder, config)


def _layer_faults(folder: Path, config: Mapping[str, Any]) -> Iterator[Fault]:
    """More layers than there are tensors: building them would take hours and the memory of the machine."""
    tensors = len(stored_tensors(folder))
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _layer_faults(folder, value)
        elif key in _LAYERS and isinstance(value, int) and 0 < tensors < value:
            yield Fault(
                key=f"{key} in {folder / CONFIG}",
                value=value,
                rule=f"is more layers than the folder holds tensors ({tensors})",
                remedy="correct it, or save or download the model again",
            )


def _index_faults(folder: Path) -> Iterator[Fault]:
    """An index maps names of tensors to files beside it, and says what they weigh together."""
    path, content = folder / INDEX, json.loads((folder / INDEX).read_bytes())
    entries = content.get("weight_map")
    if not isinstance(entries, dict) or not entries:
        yield Fault(key=str(path), rule="has no weight_map, which says in which file each tensor is", remedy=_AGAIN)
        return
    if not isinstance(content.get("metadata"), dict):
        yield Fault(key=str(path), rule="has no metadata, which loading needs", remedy=_AGAIN)
    files = list(dict.fromkeys(entries.values())) if all(isinstance(v, str) for v in entries.values()) else [None]
    for name in files:
        if name is None or Path(name).name != name:
            yield Fault(
                key=str(path), value=name, rule="must map every tensor to a file of the same folder", remedy=_AGAIN
            )
        elif not (folder / name).is_file():
            yield Fault(key=str(folder / name), rule=f"is missing, and {INDEX} names it", remedy=_AGAIN)


def _safetensors_faults(path: Path, *, quantized: bool) -> Iterator[Fault]:
    try:
        with safe_open(path, framework="pt") as file:
            kinds = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        yield Fault(key=str(path), rule=_disguise(path) or f"cannot be read: {sentence_of(error)}", remedy=_AGAIN)
        return
    if not kinds:
        yield Fault(key=str(path), rule="holds no tensors", remedy=_AGAIN)
    unreal = {name: kind for name, kind in kinds.items() if kind not in _REAL and name.endswith((".weight", ".bias"))}
    if unreal and not quantized:
        name, kind = next(iter(unreal.items()))
        yield Fault(
            key=str(path),
            rule=f"holds {len(unreal)} weights that are no real numbers, such as {name} ({kind})",
            remedy="save the model in float32, bfloat16 or float16, or say in config.json how it was quantized",
        )


def _object_faults(path: Path) -> Iterator[Fault]:
    """What is wrong with a file that must hold one JSON object, if there is such a file."""
    if path.is_symlink() and not path.exists():
        yield Fault(key=str(path), rule="is a link to a file that is not there", remedy=_AGAIN)
        return
    if not path.exists():
        return
    try:
        content: Any = json.loads(path.read_bytes().decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        yield Fault(key=str(path), rule=_disguise(path) or f"is no JSON: {sentence_of(error)}", remedy=_AGAIN)
        return
    if not isinstance(content, dict):
        rule = f"must hold an object with names and values, and holds a {type(content).__name__}"
        yield Fault(key=str(path), rule=rule, remedy=_AGAIN)


def _disguise(path: Path) -> str | None:
    """What a file is instead of what its name says, where its first bytes tell."""
    if not path.is_file():
        return "is no file"
    with path.open("rb") as stream:
        head = stream.read(64).lstrip()
    if not head:
        return "is empty"
    return next((told for opening, told in OPENINGS.items() if head.startswith(opening)), None)


def listed(names: Iterable[str], *, most: int = 5) -> str:
    """The first few names, and how many more there are."""
    every = sorted(names)
    rest = f" and {len(every) - most} more" if len(every) > most else ""
    return f"{', '.join(every[:most])}{rest}"
