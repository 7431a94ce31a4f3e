"""GGUF files: written by llama.cpp's converter, completed with every stop id, and read back."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers.utils import cached_file

from alignment.errors import Fault, SetupError
from alignment.files import replacing, shown_path
from alignment.modeling.load import attention_implementation, model_folder
from alignment.output.saved import RELOADED

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from alignment.recipe import ModelArguments

CONVERTER = "convert_hf_to_gguf.py"
GGUF_TYPES = ("f32", "f16", "bf16", "q8_0")
"""Precisions that the converter writes matrices in; vectors stay in f32."""
_SENTENCEPIECE = "tokenizer.model"
_STOPS = ("tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id")
"""Where a GGUF file names tokens that end an answer."""
_TEMPLATE = "tokenizer.chat_template"
_SHOWN = 12


def find_converter(llama_cpp: Path | None) -> Path:
    """llama.cpp's converter, in its folder or on the PATH. Raises SetupError where it is not."""
    if llama_cpp is not None:
        path = llama_cpp.expanduser() / CONVERTER
        if path.is_file():
            return path
        rule, remedy = f"holds no {CONVERTER}", "name a clone of https://github.com/ggml-org/llama.cpp"
        raise SetupError(Fault(key="LLAMA_CPP", value=str(llama_cpp), rule=rule, remedy=remedy))
    found = shutil.which(CONVERTER)
    if found is None:
        remedy = "clone https://github.com/ggml-org/llama.cpp and give its folder: LLAMA_CPP=<folder>"
        raise SetupError(Fault(key=CONVERTER, rule="of llama.cpp is not on the PATH", remedy=remedy))
    return Path(found)


def write_gguf(path: Path, run: Path, model: ModelArguments, *, llama_cpp: Path | None, precision: str) -> None:
    """Convert the model in the folder `run`, which was trained from `model`.

    Raises:
        SetupError: there is no converter, or it fails; with its last words.
    """
    converter = find_converter(llama_cpp)
    with tempfile.TemporaryDirectory(prefix=".gguf.", dir=path.parent) as scratch:
        folder = _staged(run, model, Path(scratch) / run.name)
        command = [sys.executable, str(converter), str(folder), "--outfile", str(path), "--outtype", precision]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 or not path.is_file():
        said = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-_SHOWN:])
        rule = f"could not convert {shown_path(run)} (exit code {done.returncode}):\n{said}"
        remedy = (
            "pip install '.[gguf]'" if "No module named" in said else "see what it says; a newer llama.cpp may help"
        )
        raise SetupError(Fault(key=str(converter), rule=rule, remedy=remedy))


def _staged(run: Path, model: ModelArguments, folder: Path) -> Path:
    """Links to the files of a run, and to the base's SentencePiece model, which a run does not save."""
    folder.mkdir()
    for file in run.iterdir():
        if file.is_file() and not file.name.startswith("."):
            (folder / file.name).symlink_to(file.resolve())
    if not (folder / _SENTENCEPIECE).exists() and (vocabulary := _sentencepiece(model)) is not None:
        (folder / _SENTENCEPIECE).symlink_to(vocabulary.resolve())
    return folder


def _sentencepiece(model: ModelArguments) -> Path | None:
    """The base's `tokenizer.model`, where it has one and it is on this machine."""
    name = model.tokenizer_name_or_path or model.model_name_or_path
    folder = Path(name) if Path(name).is_dir() else None
    if folder is None and ":" in name:
        folder = model_folder(model)
    if folder is not None:
        return folder / _SENTENCEPIECE if (folder / _SENTENCEPIECE).is_file() else None
    found = cached_file(
        name,
        _SENTENCEPIECE,
        local_files_only=True,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_connection_errors=False,
        _raise_exceptions_for_gated_repo=False,
    )
    return None if found is None else Path(found)


def read_back(
    path: Path, tokenizer: PreTrainedTokenizerBase, *, run: Path, stops: Collection[int]
) -> PreTrainedModel | None:
    """Load a GGUF file after its template and stop ids were found right, adding ids that it lacks.

    Returns:
        The model, or `None` where transformers reads no such file or it is too large to be compared.

    Raises:
        SetupError: the template is another one, or not every stop id has a place.
    """
    import gguf

    reader = gguf.GGUFReader(path)
    template = _content(reader, _TEMPLATE)
    if template != tokenizer.chat_template:
        rule = "is missing" if template is None else "is not the one that the model was trained with"
        raise SetupError(Fault(key=f"{_TEMPLATE} in {path.name}", rule=rule, remedy="use a newer llama.cpp"))
    lacking = sorted(set(stops) - {_content(reader, key) for key in _STOPS})
    if lacking:
        free = [key for key in _STOPS if _content(reader, key) is None]
        if len(free) < len(lacking):
            rule = f"has no room for {len(lacking) - len(free)} of them: a GGUF file names {len(_STOPS)} stop ids"
            raise SetupError(Fault(key=f"stop ids in {path.name}", value=sorted(stops), rule=rule))
        _add_ids(path, reader, dict(zip(free, lacking, strict=False)))
    return _loaded(path, run, sum(int(tensor.n_elements) for tensor in reader.tensors))


def _content(reader: Any, key: str) -> Any:
    field = reader.get_field(key)
    return None if field is None else field.contents()


def _add_ids(path: Path, reader: Any, ids: Mapping[str, int]) -> None:
    """Write the file anew with further token ids in its head."""
    import gguf
    from gguf.scripts.gguf_new_metadata import MetadataDetails, copy_with_new_metadata

    added = {key: MetadataDetails(gguf.GGUFValueType.UINT32, token) for key, token in ids.items()}
    with replacing(path) as partial:
        writer = gguf.GGUFWriter(partial, arch=_content(reader, gguf.Keys.General.ARCHITECTURE))
        copy_with_new_metadata(reader, writer, added, [])


def _loaded(path: Path, run: Path, parameters: int) -> PreTrainedModel | None:
    """The tensors of the file in the architecture of the run: transformers reads a part of what a file says of it."""
    from transformers import AutoConfig, AutoModelForCausalLM, GgufConfig

    if parameters > RELOADED:
        return None
    config = AutoConfig.from_pretrained(run)
    try:
        return AutoModelForCausalLM.from_pretrained(
            path.parent,
            gguf_file=path.name,
            config=config,
            quantization_config=GgufConfig(dequantize=True),
            dtype="float32",
            attn_implementation=attention_implementation(config, None),
        ).eval()
    except (ValueError, NotImplementedError) as error:
        if "not supported" in str(error):
            return None
        raise


def as_in_gguf(tensor: Tensor, precision: str) -> Tensor:
    """`tensor` after it was stored in a GGUF file: matrices rounded to `precision`, vectors as they are."""
    import gguf

    if tensor.ndim < 2:
        return tensor
    kind = gguf.GGMLQuantizationType[precision.upper()]
    return torch.from_numpy(gguf.dequantize(gguf.quantize(tensor.float().numpy(), kind), kind)).view_as(tensor)
