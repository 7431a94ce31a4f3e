"""Do a tokenizer and a model belong together, and can its tokens end an answer?"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer
from transformers import PretrainedConfig, PreTrainedTokenizerBase

from alignment.errors import Fault
from alignment.modeling.folder_check import GENERATION

_SAMPLE = "Why does bread rise? Yeast makes 3 or 4 bubbles."
_IMAGE_MARKS = ("image_token", "boi_token", "eoi_token", "audio_token", "video_token")
"""Tokens of a family's multimodal members: text models keep their names and have no row for them."""

_NUMBERS = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty", "max_length", "max_new_tokens", "num_beams")


def vocabulary_faults(tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig, name: str) -> Iterator[Fault]:
    """What makes `tokenizer` unfit for the model of `config`.

    Args:
        name: folder or Hub id of the tokenizer.
    """
    ids = tokenizer(_SAMPLE, add_special_tokens=False)["input_ids"]
    if not ids or set(ids) == {tokenizer.unk_token_id}:
        found = "no tokens" if not ids else f"nothing but {tokenizer.unk_token}"
        yield Fault(
            key=f"the tokenizer of {name}",
            rule=f"turns a plain sentence into {found}",
            remedy="save or download it again, or correct tokenizer_class in tokenizer_config.json",
        )
        return
    yield from _guessed_faults(tokenizer, name)
    if tokenizer.eos_token_id is None:
        yield Fault(
            key=f"the tokenizer of {name}",
            rule="names no eos_token, so no answer could end",
            remedy="state one in tokenizer_config.json, or name another tokenizer with tokenizer_name_or_path",
        )
    rows = getattr(config.get_text_config(), "vocab_size", None)
    if isinstance(rows, int):
        yield from _size_faults(tokenizer, rows, name)


def _size_faults(tokenizer: PreTrainedTokenizerBase, rows: int, name: str) -> Iterator[Fault]:
    marks = {getattr(tokenizer, mark, None) for mark in _IMAGE_MARKS}
    beyond = {number: token for token, number in tokenizer.get_vocab().items() if number >= rows and token not in marks}
    if beyond:
        first = min(beyond)
        yield Fault(
            key=f"the tokenizer of {name}",
            rule=f"has token ids up to {max(beyond)}, and the model's embedding has {rows} rows: "
            f"{beyond[first]!r} is {first}",
            remedy="use the tokenizer of the model, or resize the model's embeddings (resize_token_embeddings) and "
            "name the resized folder",
        )


def _guessed_faults(tokenizer: PreTrainedTokenizerBase, name: str) -> Iterator[Fault]:
    """Without `tokenizer_class` the class follows from the model's type, and may split text in its own way."""
    file, settings = Path(name) / "tokenizer.json", Path(name) / "tokenizer_config.json"
    stated = json.loads(settings.read_bytes()).get("tokenizer_class") if settings.is_file() else None
    if stated is not None or not file.is_file():
        return
    ids = Tokenizer.from_file(str(file)).encode(_SAMPLE, add_special_tokens=False).ids
    if ids != tokenizer(_SAMPLE, add_special_tokens=False)["input_ids"]:
        yield Fault(
            key=str(settings),
            rule=f"states no tokenizer_class, and {type(tokenizer).__name__}, which follows from the model's type, "
            "splits text otherwise than tokenizer.json does",
            remedy="state the class, such as PreTrainedTokenizerFast, or save or download the tokenizer again",
        )


def generation_faults(folder: Path, config: PretrainedConfig) -> Iterator[Fault]:
    """Values in the folder's generation settings that are of no use; transformers saves and loads most of them."""
    path = folder / GENERATION
    settings = json.loads(path.read_bytes()) if path.is_file() else {}
    rows = getattr(config.get_text_config(), "vocab_size", None)
    stops = settings.get("eos_token_id")
    below = "must be a token id" + (f" below {rows}" if rows is not None else "")
    rules: dict[str, tuple[bool, str]] = {
        "eos_token_id": (all(_is_id(stop, rows) for stop in (stops if isinstance(stops, list) else [stops])), below),
        **{key: (_is_id(settings.get(key), None), "must be a token id") for key in ("pad_token_id", "bos_token_id")},
        **{key: (_is_number(settings.get(key)), "must be a number of 0 or more") for key in _NUMBERS},
        **{key: (isinstance(settings.get(key), bool), "must be true or false") for key in ("do_sample", "use_cache")},
    }
    for key, (holds, rule) in rules.items():
        if settings.get(key) is not None and not holds:
            yield Fault(key=f"{key} in {path}", value=settings[key], rule=rule, remedy="correct or remove it")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_id(value: object, limit: int | None) -> bool:
    if not isinstance(value, int) or isinstance(value, bool):
        return False
    return limit is None or 0 <= value < limit
