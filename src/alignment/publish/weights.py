"""Are the weights of a folder whole? Complete, finite, of one precision, tied ones stored once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from alignment.errors import Fault
from alignment.output.finished_run import FinishedRun

_SAFETENSORS_DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16", "F64": "float64"}


class Stored(NamedTuple):
    """A tensor in a safetensors file."""

    shape: tuple[int, ...]
    dtype: str
    """In the file's own words, such as `BF16`."""


Header = Mapping[str, Stored]
"""Tensor name -> what is stored under it."""


def weight_faults(folder: Path) -> Iterator[Fault]:
    """What is wrong with the safetensors files: truncated, incomplete, duplicated, not finite, of another precision."""
    run = FinishedRun(folder)
    headers: dict[str, Header] = {}
    for path in sorted(folder.glob("model*.safetensors")):
        header = _header(path)
        if header is None:
            yield Fault(key=path.name, rule="is truncated or no safetensors file", remedy="save the model again")
            return
        headers[path.name] = header
    stored = {name: file for file, header in headers.items() for name in header}
    yield from _index_faults(folder, headers)
    shapes, tied = _expected(folder, trust_remote_code=bool(run.manifest["recipe"].get("trust_remote_code")))
    yield from _completeness(stored, headers, shapes, tied)
    yield from _precision(run, headers)
    for name, file in stored.items():
        if not _finite(folder / file, name):
            yield Fault(
                key=f"{name} in {file}",
                rule="holds NaN or infinite values",
                remedy="the training diverged: look at training_curves.png; lower the learning rate",
            )


def _header(path: Path) -> Header | None:
    """What the file says of its tensors; `None` when it does not end where its header says."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            return {name: Stored(tuple(part.get_shape()), part.get_dtype()) for name, part in slices.items()}
    except SafetensorError:
        return None


def _index_faults(folder: Path, headers: Mapping[str, Header]) -> Iterator[Fault]:
    path = folder / "model.safetensors.index.json"
    if not path.is_file():
        if set(headers) - {"model.safetensors"}:
            yield Fault(key=path.name, rule="is missing, although the weights lie in shards")
        return
    weight_map = json.loads(path.read_text())["weight_map"]
    for name, file in weight_map.items():
        if name not in headers.get(file, {}):
            yield Fault(
                key=path.name, value=name, rule=f"should be in {file} and is not", remedy="save the model again"
            )
            return
    for file in sorted(set(headers) - set(weight_map.values())):
        yield Fault(key=file, rule=f"is not named in {path.name}", remedy="delete it: it is left from another save")


def _expected(folder: Path, *, trust_remote_code: bool) -> tuple[dict[str, tuple[int, ...]], set[str]]:
    """Names and shapes of the architecture's weights as they are stored, and the names of those tied to others."""
    import torch
    from transformers import AutoConfig
    from transformers.core_model_loading import revert_weight_conversion

    from alignment.modeling.auto_class import auto_class, is_reward_model

    config = AutoConfig.from_pretrained(folder, trust_remote_code=trust_remote_code)
    with torch.device("meta"):
        model = auto_class(scores=is_reward_model(config.architectures)).from_config(
            config, trust_remote_code=trust_remote_code, attn_implementation="eager"
        )
    tied = set(model.all_tied_weights_keys)
    stored = revert_weight_conversion(model, model.state_dict())  # experts are one tensor in memory, many on disk
    return {name: tuple(weight.shape) for name, weight in stored.items()}, tied


def _completeness(
    stored: Mapping[str, str],
    headers: Mapping[str, Header],
    shapes: Mapping[str, tuple[int, ...]],
    tied: set[str],
) -> Iterator[Fault]:
    missing = sorted(set(shapes) - tied - set(stored))
    if missing:
        rule = f"lacks {len(missing)} of {len(shapes)} weights, such as {missing[0]}"
        yield Fault(key="model.safetensors", rule=rule, remedy="save the model again")
    unknown = sorted(set(stored) - set(shapes))
    if unknown:
        rule = f"holds {len(unknown)} weights that config.json knows nothing of, such as {unknown[0]}"
        yield Fault(key="model.safetensors", rule=rule, remedy="merge adapters and save the whole model")
    for name in sorted(tied & set(stored)):
        yield Fault(
            key=f"{name} in {stored[name]}",
            rule="is stored although it is tied to another weight",
            remedy="save the model again with safetensors, which stores it once",
        )
    for name in sorted(set(stored) & set(shapes)):
        found = headers[stored[name]][name].shape
        if found != shapes[name]:
            yield Fault(key=f"{name} in {stored[name]}", value=found, rule=f"must have the shape {shapes[name]}")


def _precision(run: FinishedRun, headers: Mapping[str, Header]) -> Iterator[Fault]:
    """The precision on disk is that of the training, and config.json says so."""
    recipe = run.manifest["recipe"]
    trained = run.manifest["model"]["training_dtypes"]
    wanted = "bfloat16" if recipe.get("bf16") else "float16" if recipe.get("fp16") else None
    if wanted is None and len(trained) == 1:
        wanted = trained[0]
    found = {entry.dtype for header in headers.values() for entry in header.values()}
    names = sorted(_SAFETENSORS_DTYPES[dtype] for dtype in found if dtype in _SAFETENSORS_DTYPES)
    if wanted is not None and names != [wanted]:
        yield Fault(
            key="weights",
            value=", ".join(names),
            rule=f"must be {wanted}, as the recipe trained them",
            remedy="save the model again in that precision",
        )
    stated = run.config.get("dtype")
    if stated not in (None, *names):
        yield Fault(key="dtype in config.json", value=stated, rule=f"must be {', '.join(names)}, as the weights are")


def _finite(path: Path, name: str) -> bool:
    import torch
    from safetensors import safe_open

    with safe_open(path, framework="pt") as weights:
        tensor = weights.get_tensor(name)
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())
