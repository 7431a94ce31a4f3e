"""The policy and its tokenizer, as the recipe asks for them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import (
    AutoConfig,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import CONFIG_NAME, cached_file

from alignment.data.template_markers import begin_with_bos
from alignment.errors import Fault, SetupError
from alignment.hub.bundled import is_bundled, resolve_bundled
from alignment.modeling.auto_class import (
    auto_class,
    check_one_label,
    exchanged_head,
    is_reward_model,
    without_report,
)
from alignment.modeling.completeness import incomplete_faults, shape_faults
from alignment.modeling.folder_check import CONFIG, model_faults, tokenizer_faults
from alignment.modeling.loading_errors import told
from alignment.modeling.peft import quantization_config
from alignment.modeling.vocabulary import generation_faults, vocabulary_faults

if TYPE_CHECKING:
    from alignment.recipe import ModelArguments


def load_tokenizer(model: ModelArguments, *, chat_template: str | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer with the recipe's chat template and a pad token.

    Args:
        model: what the recipe says of the model.
        chat_template: Jinja source that replaces the tokenizer's own.

    Raises:
        SetupError: the tokenizer cannot be had, or it has no chat template and the recipe gives none.
    """
    name = model.tokenizer_name_or_path or model.model_name_or_path
    key = "tokenizer_name_or_path" if model.tokenizer_name_or_path else "model_name_or_path"
    location = _location(name)
    config = load_configuration(model)
    _refuse(tokenizer_faults(Path(location)) if Path(location).is_dir() else (), key, name)
    with told(location, file="tokenizer_config.json or tokenizer.json", key=key):
        tokenizer = AutoTokenizer.from_pretrained(
            location, revision=tokenizer_revision(model), trust_remote_code=model.trust_remote_code
        )
        tokenizer("a", add_special_tokens=False)  # some values are looked at by the first call only
    _refuse(vocabulary_faults(tokenizer, config, location), key, name)
    if chat_template is not None:
        tokenizer.chat_template = chat_template
    if not tokenizer.chat_template:
        raise SetupError(
            Fault(
                key="chat_template",
                rule=f"is needed, because the tokenizer of {name} has none",
                remedy="name a shipped one (gemma2, llama3, mistral, zephyr, chatml), a file, or inline Jinja",
            )
        )
    tokenizer.chat_template = begin_with_bos(tokenizer)
    if tokenizer.pad_token_id is None:
        # Padding is always masked explicitly, so sharing the id with eos is safe.
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def has_own_template(model: ModelArguments) -> bool:
    """Whether the tokenizer came with a chat template, whatever the recipe puts in its place."""
    location = _location(model.tokenizer_name_or_path or model.model_name_or_path)
    with told(location, file="tokenizer_config.json or tokenizer.json"):
        tokenizer = AutoTokenizer.from_pretrained(
            location, revision=tokenizer_revision(model), trust_remote_code=model.trust_remote_code
        )
    return bool(tokenizer.chat_template)


def tokenizer_revision(model: ModelArguments) -> str:
    """The revision of the tokenizer: a pinned one is a commit of the model's repository, which no other one has."""
    own = model.tokenizer_name_or_path in (None, model.model_name_or_path)
    return model.model_revision if own else "main"


def load_policy(model: ModelArguments, *, scores: bool = False) -> PreTrainedModel:
    """The causal language model to train, or to generate with; with `scores`, a reward model of one label.

    A language model becomes a reward model by a new head of random numbers.

    Weights are fp32 unless the recipe names another dtype: at SimPO's learning rates an update is smaller
    than a bf16 rounding step, so weights that exist in bf16 alone would not move.

    Raises:
        SetupError: the model cannot be had, or the attention asked for would change its mathematics.
    """
    name = model.model_name_or_path
    location = _location(name)
    config = load_configuration(model)
    untrained = scores and not is_reward_model(config.architectures)
    if untrained:
        config.num_labels = 1
    if scores:
        check_one_label(config, name)
    attention = attention_implementation(config, model.attn_implementation)
    quiet = without_report() if untrained else nullcontext()
    with told(location, file=f"{CONFIG} or its weights"), _shapes_explained(location, config), quiet:
        policy, found = auto_class(scores=scores).from_pretrained(
            location,
            config=config,
            dtype=model.dtype if model.dtype in (None, "auto") else getattr(torch, model.dtype),
            attn_implementation=attention,
            quantization_config=quantization_config(model),
            output_loading_info=True,
            **_common(model),
        )
    if untrained:
        found = exchanged_head(found)
        policy.config.architectures = [type(policy).__name__]
    _refuse(incomplete_faults(policy, found, location), "model_name_or_path", name)
    return policy


def load_configuration(model: ModelArguments) -> PretrainedConfig:
    """The configuration of the model, whose folder has been looked at."""
    name = model.model_name_or_path
    location = _location(name)
    local = Path(location).exists()
    _refuse(model_faults(Path(location)) if local else (), "model_name_or_path", name)
    with told(location, file=CONFIG):
        config = AutoConfig.from_pretrained(location, **_common(model))
    _refuse(generation_faults(Path(location), config) if local else (), "model_name_or_path", name)
    return config


def _common(model: ModelArguments) -> dict[str, Any]:
    return {"revision": model.model_revision, "trust_remote_code": model.trust_remote_code}


@contextmanager
def _shapes_explained(location: str, config: PretrainedConfig) -> Iterator[None]:
    """Name the tensors where the library only says that some have another shape."""
    try:
        yield
    except RuntimeError as error:
        if Path(location).is_dir() and "ignore_mismatched_sizes" in str(error):
            _refuse(shape_faults(Path(location), config), "model_name_or_path", location)
        raise


def _refuse(faults: Iterable[Fault], key: str, name: str) -> None:
    """Raise a `SetupError` if there are any faults."""
    if every := tuple(faults):
        raise SetupError(every, where=f"{key} {name}")


def model_folder(model: ModelArguments) -> Path:
    """Where the files of the model lie on this machine: its folder, or the snapshot in the Hub's cache."""
    location = _location(model.model_name_or_path)
    if Path(location).is_dir():
        return Path(location)
    with told(location, file=CONFIG):
        config = cached_file(location, CONFIG_NAME, revision=model.model_revision)
    assert config is not None
    return Path(config).parent


def as_saved(model: ModelArguments, location: str) -> ModelArguments:
    """`model` after its run was saved to `location`: a whole model with its own tokenizer, whatever it came from."""
    return replace(
        model,
        model_name_or_path=location,
        tokenizer_name_or_path=None,
        model_revision="main",
        load_in_4bit=False,
        load_in_8bit=False,
    )


def attention_implementation(config: Any, requested: str | None) -> str | None:
    """What `from_pretrained` is told: the request, or eager where a soft-cap needs it.

    PyTorch's fused attention has no soft-cap; some releases of transformers drop it there without a word
    and the gradients of Gemma-2 are then off by some percent.

    Raises:
        SetupError: the request would drop the soft-cap.
    """
    soft_cap = getattr(config.get_text_config(), "attn_logit_softcapping", None)
    if soft_cap is None:
        return requested
    if requested == "sdpa":
        raise SetupError(
            Fault(
                key="attn_implementation",
                value="sdpa",
                rule=f"has no soft-cap, and {config.model_type} caps its attention logits at {soft_cap}",
                remedy="use eager, flash_attention_2 or flex_attention",
            )
        )
    return requested or "eager"


def _location(name: str) -> str:
    return str(resolve_bundled(name)) if is_bundled(name) else name
