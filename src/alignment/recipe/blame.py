"""Which key of a recipe an exception of a library is most likely about."""

from __future__ import annotations

import re
import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

LIBRARIES: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"_dynamo|_inductor", ("torch_compile", "torch_compile_backend", "torch_compile_mode")),
    (r"transformers/optimization", ("lr_scheduler_kwargs", "lr_scheduler_type", "warmup_steps", "warmup_ratio")),
    (r"torch/optim/lr_scheduler", ("lr_scheduler_kwargs", "lr_scheduler_type")),
    (r"transformers/trainer_optimizer", ("optim_args", "optim")),
    (r"torch/distributed/", ("ddp_backend",)),
    (r"torch/optim|bitsandbytes/optim|torchao", ("optim_args", "optim")),
    (r"transformers/integrations/integration_utils|site-packages/(wandb|mlflow|comet_ml|trackio)/", ("report_to",)),
    (r"torch/utils/data", ("dataloader_num_workers", "dataloader_prefetch_factor", "dataloader_persistent_workers")),
    (r"site-packages/peft/", ("lora_target_modules", "lora_modules_to_save", "lora_target_parameters", "use_peft")),
    (r"site-packages/liger_kernel/", ("use_liger_kernel", "liger_kernel_config")),
    (r"site-packages/bitsandbytes/", ("load_in_4bit", "load_in_8bit", "bnb_4bit_quant_storage")),
    (r"site-packages/jinja2/", ("chat_template",)),
    (r"site-packages/tokenizers/|tokenization_", ("tokenizer_name_or_path", "model_name_or_path")),
    (r"site-packages/datasets/", ("dataset_name", "dataset_mixture", "dataset_num_proc")),
)
"""Pattern of a source file of the traceback -> the keys that bring it in, the likeliest first."""


def likely_key(error: BaseException, settings: Mapping[str, Any], *, candidates: Collection[str] = ()) -> str | None:
    """The stated key behind `error`, or `None` when nothing points to one.

    What the message names comes first, then the library that raised, the innermost frame first.

    Args:
        error: what was raised; what it came from is read too.
        settings: the stated keys, nested as in YAML.
        candidates: the keys that the work at hand depends on, the likeliest first.
    """
    message = "\n".join(str(link) for link in _chain(error))
    named = [key for key in settings if _says(message, key)]
    if named:
        return max(named, key=len)
    valued = [key for key, value in settings.items() if any(_shows(message, word) for word in _words(value))]
    if valued:
        return next((key for key in candidates if key in valued), valued[0])
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        for pattern, keys in LIBRARIES:
            stated = _first(keys, settings) if re.search(pattern, frame.filename) else None
            if stated:
                return stated
    return _first(candidates, settings)


def _first(keys: Iterable[str], settings: Mapping[str, Any]) -> str | None:
    return next((key for key in keys if settings.get(key) not in (None, False, "no", "none")), None)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _words(value: Any) -> Iterator[str]:
    """Names of entries and pieces of text within a setting's value."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield str(name)
            yield from _words(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _words(item)
    elif isinstance(value, str):
        yield value


def _shows(message: str, word: str) -> bool:
    """Whether `message` quotes `word`; a word that English has too counts only in quotes."""
    if len(word) < 3:
        return False
    quoted = any(f"{mark}{word}{mark}" in message for mark in "'\"`")
    return quoted or (not word.isalpha() and _says(message, word))


def _says(message: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", message) is not None
