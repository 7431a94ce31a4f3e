"""The final save: a folder that `from_pretrained` loads, ready to answer."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase, Trainer

from alignment.modeling.load import as_saved, load_policy
from alignment.modeling.peft import with_adapter
from alignment.modeling.precision import compute_dtype
from alignment.modeling.stopping import answering_config
from alignment.output.saved import check_saved, conversation_outputs, first_conversation

if TYPE_CHECKING:
    from alignment.recipe import ModelArguments

ADAPTER = "adapter"


class SavedInPart(Exception):
    """The weights of a trained model are on the disk; what goes with them is not."""


def save_final(
    trainer: Trainer,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    *,
    arguments: ModelArguments,
    scores: bool = False,
) -> None:
    """Save the whole model, its tokenizer and its generation settings; adapters are merged and kept beside.

    Every rank must call it: sharded weights are gathered. Weights are saved in the precision of training
    (bf16 for `bf16: true`), which is what the model will be used in. What is then on the disk is compared with
    what was trained; a model that `scores` is a reward model.

    Raises:
        NotWhatWasTrained: the folder holds something else.
        SavedInPart: the folder holds the weights alone.
    """
    dtype = compute_dtype(trainer.args, trainer.model)
    ids = first_conversation(trainer.train_dataset)
    trained = conversation_outputs(trainer.model_wrapped, ids, trainer.args.device)
    gathered = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if trainer.accelerator.is_main_process:
        state = without_compiler(gathered)
        model = trainer.accelerator.unwrap_model(trainer.model_wrapped, keep_torch_compile=False)
        if hasattr(model, "peft_config"):
            model.save_pretrained(folder / ADAPTER, state_dict=state)
            full_precision = dataclasses.replace(arguments, load_in_4bit=False, load_in_8bit=False)
            with plain_loading():
                adapted = with_adapter(folder / ADAPTER, load_policy(full_precision, scores=scores))
            if full_precision != arguments:  # the quantized base that was trained on rounds the same weights
                trained = conversation_outputs(adapted, ids, torch.device("cpu"))
            model = adapted.merge_and_unload()
            state = model.state_dict()
        state = cast_state(state, dtype)
        save_model(model, tokenizer, folder, state=state, dtype=dtype)
        with plain_loading():
            check_saved(folder, state, trained, ids, as_saved(arguments, str(folder)), scores=scores)
    trainer.accelerator.wait_for_everyone()


def save_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    *,
    state: dict[str, Tensor],
    dtype: torch.dtype,
) -> None:
    """Write weights, then configuration, generation settings and tokenizer to `folder`, leaving `model` as it was.

    Raises:
        SavedInPart: the weights are on the disk, and what goes with them could not be written.
    """
    config, generation_config = model.config, getattr(model, "generation_config", None)  # a scorer has none
    model.config = type(config).from_dict(config.to_dict())
    model.generation_config = GenerationConfig()  # transformers would write the real one before the weights
    try:
        model.save_pretrained(folder, state_dict=state)
    finally:
        model.config, model.generation_config = config, generation_config
    try:
        save_settings(model, tokenizer, folder, dtype=dtype)
    except Exception as error:
        raise SavedInPart(f"the weights are saved in {folder}, but not what goes with them ({error})") from error


def save_settings(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, *, dtype: torch.dtype
) -> None:
    """Write everything but the weights: configuration, tokenizer and, of a model that answers, generation settings."""
    config = type(model.config).from_dict(model.config.to_dict())
    config.use_cache = True
    config.dtype = dtype  # of the saved weights, which need not be what the model is held in
    config.save_pretrained(folder)
    if model.can_generate():
        answering_config(model.generation_config, tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def without_compiler(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """`state` with the names of the model itself, where `torch_compile` wrapped it or parts of it."""
    return {name.replace("_orig_mod.", ""): tensor for name, tensor in state.items()}


def cast_state(state: dict[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """`state` in `dtype`; tensors that share memory (tied embeddings) still do afterwards."""
    cast: dict[tuple[int, torch.Size], Tensor] = {}
    result = {}
    for name, tensor in state.items():
        if tensor.is_floating_point() and tensor.dtype != dtype:
            tensor = cast.setdefault((tensor.data_ptr(), tensor.shape), tensor.to(dtype))
        result[name] = tensor
    return result


@contextlib.contextmanager
def plain_loading() -> Iterator[None]:
    """Load and ask whole models on this process alone, even while DeepSpeed ZeRO-3 shards what is loaded."""
    from transformers.integrations import deepspeed

    if not deepspeed.is_deepspeed_zero3_enabled():
        yield
        return
    active = deepspeed._hf_deepspeed_config_weak_ref
    deepspeed.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        deepspeed._hf_deepspeed_config_weak_ref = active
