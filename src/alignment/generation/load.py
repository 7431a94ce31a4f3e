"""From what a recipe states to the engine that answers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from alignment.errors import SetupError
from alignment.modeling.adapter_folder import load_answering, on_base
from alignment.recipe.generation_settings import GenerationSettings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from alignment.generation.engine import Engine
    from alignment.recipe import ModelArguments


def load_engine(
    settings: GenerationSettings,
    model: ModelArguments,
    *,
    chat_template: str | None = None,
    spare_template: str | None = None,
    device: str | None = None,
) -> Engine:
    """The engine that the settings ask for, with its model loaded.

    Args:
        model: what is asked; a folder of adapters answers with its base. A server has the model loaded already, and is
            only told its name.
        chat_template: Jinja source in place of the tokenizer's own; a server uses its own.
        spare_template: Jinja source for a tokenizer that has none.
        device: of the engine transformers, such as `cuda:1`: the first GPU, or the CPU, when absent.

    Raises:
        SetupError: a setting is out of its range, or the model, the library or the server cannot be had.
    """
    if faults := list(settings.faults()):
        raise SetupError(faults)
    engine = chosen_engine(settings)
    if engine == "server":
        from alignment.generation.server_engine import load_server

        return load_server(settings, model.model_name_or_path)
    tokenizer = _load_tokenizer(on_base(model), chat_template, spare_template)
    if engine == "vllm":
        from alignment.generation.vllm_engine import load_vllm

        return load_vllm(settings, model, tokenizer)
    return _load_transformers(settings, model, tokenizer, device)


def chosen_engine(settings: GenerationSettings) -> str:
    """What `engine` means on this machine: `auto` is one of the others."""
    if settings.engine != "auto":
        return settings.engine
    if settings.base_url is not None:
        return "server"
    import torch

    from alignment.generation.vllm_engine import installed

    return "vllm" if installed() and torch.cuda.is_available() else "transformers"


def _load_transformers(
    settings: GenerationSettings, model: ModelArguments, tokenizer: PreTrainedTokenizerBase, device: str | None
) -> Engine:
    import torch

    from alignment.generation.transformers_engine import TransformersEngine

    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    dtype = settings.dtype
    if dtype == "auto":
        dtype = "float32" if place == "cpu" else "bfloat16"
    policy = load_answering(replace(model, dtype=dtype))
    if not getattr(policy, "is_quantized", False):
        policy.to(place)
    return TransformersEngine(settings, policy, tokenizer)


def _load_tokenizer(model: ModelArguments, template: str | None, spare: str | None) -> PreTrainedTokenizerBase:
    from alignment.modeling.load import load_tokenizer

    try:
        return load_tokenizer(model, chat_template=template)
    except SetupError as error:
        if spare is None or error.faults[0].key != "chat_template":
            raise
        return load_tokenizer(model, chat_template=spare)
