"""The fast path: log-probabilities of completion tokens from a packed row with shared prompts.

`prepare_for_packing` teaches a loaded model, once, to take a packed batch through its ordinary call, so that every
wrapper (DDP, ZeRO-3, FSDP, autocast, peft) sees an ordinary forward. Without a packed batch nothing changes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from alignment.errors import Fault, SetupError
from alignment.modeling.attention import (
    Attend,
    PackedCall,
    SharedPrompts,
    attention_of,
    choose_proven_backend,
    layout_indices,
    needs_of,
    serve_shared_prompts,
    this_machine,
)
from alignment.modeling.class_swap import mix_in
from alignment.modeling.logps import CompletionLogps, sum_by_completion
from alignment.modeling.output_head import accept_targets, head_softcap
from alignment.modeling.parameters import whole_numel
from alignment.modeling.peft import inside_adapters

logger = logging.getLogger(__name__)

VERIFIED = ("gemma2", "gemma3_text", "llama", "mistral", "qwen2", "qwen3")
"""`model_type`s whose packed losses and gradients the tests compare with transformers' own. SmolLM2 is a llama."""

LARGE = 1_000_000_000
"""Weights beyond which the plain computation on a GPU must be asked for."""


class _Backbone(Protocol):
    """The transformer of a language model, once `serve_packed_rows` has been there."""

    _packed_attention: Attend

    def __call__(self, **kwargs: Any) -> Any: ...


class _PackedForward(nn.Module):
    """Mixed into the model's class: its forward also takes a packed batch."""

    base_model: _Backbone
    lm_head: nn.Module
    config: Any

    def forward(self, *args: Any, packed: Mapping[str, Any] | None = None, **kwargs: Any) -> Any:
        """With `packed`, `(log-probabilities [N], mean logits [N])` of the completion tokens; else the model's own."""
        if packed is None:
            return super().forward(*args, **kwargs)
        layout = SharedPrompts(packed["pair_lengths"], packed["input_ids"].device, packed.get("layout_indices"))
        call = PackedCall(layout, self.base_model._packed_attention)
        output = run_packed(self.base_model, packed["input_ids"], packed["position_ids"], call, self.config)
        completion_hidden = output.last_hidden_state[0].index_select(0, packed["predictor_index"])
        return self.lm_head(completion_hidden, targets=packed["targets"], softcap=head_softcap(self.config))


def prepare_for_packing(
    model: nn.Module,
    *,
    requested: str | None = None,
    longest: int | None = None,
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
    allow_slow: bool = False,
) -> str:
    """Teach a model to take packed batches, in place, and say by which attention backend.

    Call it on the model or its peft wrapper, before accelerate or DeepSpeed wrap it. Parameter names, tied
    weights, `save_pretrained`, `generate` and calls without a packed batch stay as they were.

    Args:
        requested: the recipe's `attn_implementation`.
        longest: tokens of the longest prompt with completion (`max_length`).
        dtype, device: what the forward will compute in and on, where a wrapper (autocast, DeepSpeed) or a later move
            makes that differ from the weights as they are now.

    Raises:
        SetupError: the model or the backend cannot give the same numbers as the padded computation.
    """
    language_model, backend = serve_packed_rows(
        model, requested=requested, longest=longest, dtype=dtype, device=device, allow_slow=allow_slow
    )
    accept_targets(language_model.get_output_embeddings())
    mix_in(_PackedForward, language_model)
    return backend


def serve_packed_rows(
    model: nn.Module,
    *,
    requested: str | None,
    longest: int | None,
    dtype: torch.dtype | None,
    device: torch.device | None,
    allow_slow: bool,
) -> tuple[PreTrainedModel, str]:
    """Let a model's attention layers take packed rows; arguments and errors as for `prepare_for_packing`.

    Returns:
        The language model inside a wrapper, and the name of the attention backend that was chosen.
    """
    language_model = _language_model(model)
    attention = [layer.self_attn for layer in language_model.base_model.layers]
    _check_dropout(attention)
    needs = needs_of(language_model.config, dtype or language_model.dtype, longest)
    device = device or language_model.device
    backend = choose_proven_backend(needs, this_machine(device), device, requested)
    if not allow_slow:
        check_speed(backend, device, weights=sum(map(whole_numel, language_model.parameters())))
    backbone = language_model.base_model
    if not hasattr(backbone, "_packed_attention"):
        serve_shared_prompts(attention)
    backbone._packed_attention = attention_of(backend)
    logger.info("Packed rows: attention by %s.", backend)
    return language_model, backend


def check_speed(backend: str, device: torch.device, *, weights: int) -> None:
    """Refuse to train a large model on a GPU by the plain computation, which is many times slower than a kernel.

    Raises:
        SetupError: with what to install, and the key that allows it all the same.
    """
    if backend == "segments" and device.type == "cuda" and weights > LARGE:
        raise SetupError(
            Fault(
                key="allow_slow_attention",
                value=False,
                rule=f"stands against this run: no attention kernel works here for a model of {weights / 1e9:.1f}B "
                "weights, and plain PyTorch launches tens of thousands of small kernels a micro-batch",
                remedy="`make install-flash` installs one that fits this GPU (the log above says why others were "
                "passed over), or set allow_slow_attention: true",
            )
        )


def run_packed(
    backbone: Callable[..., Any], input_ids: Tensor, position_ids: Tensor, call: PackedCall, config: Any
) -> Any:
    """What the backbone of a model of `config` makes of a packed row: token ids and positions `[1, T]`."""
    output = backbone(
        input_ids=input_ids,
        position_ids=position_ids,
        # Four dimensions: a finished mask, which models hand on as it is. The attention does not look at it.
        attention_mask=position_ids.new_zeros(1, 1, 1, 1),
        use_cache=False,
        shared_prompts=call,
    )
    if call.layout.calls < config.num_hidden_layers:
        raise RuntimeError(f"{call.layout.calls} of {config.num_hidden_layers} layers attended to the packed row")
    return output


class WithLayoutIndices:
    """A collator of packed rows, whose batches also carry the tensor that attention reads their layout from.

    Built there, it is built by the loader's workers and pinned with the rest of the batch.
    """

    def __init__(self, collator: Callable[[Any], dict[str, Any]]) -> None:
        self.collator = collator

    def __call__(self, pairs: Any) -> dict[str, Any]:
        batch = self.collator(pairs)
        return {**batch, "layout_indices": layout_indices(batch["pair_lengths"])}


def packed_logps(model: nn.Module, batch: Mapping[str, Any]) -> CompletionLogps:
    """Log-probabilities of the completions of a batch of `PackedPreferenceCollator`, or of `SharedAnswersCollator`.

    Args:
        model: a prepared model, wrapped or not.
    """
    token_logps, token_logits = model(packed=batch)
    if "pair_answers" not in batch:
        return sum_by_completion(token_logps, token_logits, batch["target_rows"], 2 * len(batch["weight"]))
    answers = sum(len(lengths) - 1 for lengths in batch["pair_lengths"])
    each = sum_by_completion(token_logps, token_logits, batch["target_rows"], answers)
    return CompletionLogps(*(values.index_select(0, batch["pair_answers"]) for values in each))


def _language_model(model: nn.Module) -> PreTrainedModel:
    """The causal language model inside an optional peft wrapper, if it is one that packing is proven for."""
    prompt_learning = any(c.is_prompt_learning for c in getattr(model, "peft_config", {}).values())
    inner = inside_adapters(model)
    model_type = getattr(getattr(inner, "config", None), "model_type", type(inner).__name__)
    if prompt_learning:
        raise SetupError(_unsupported("prompt learning", "changes the prompt that two completions would share"))
    if model_type not in VERIFIED:
        raise SetupError(_unsupported(model_type, f"has not been proven equal; proven are {', '.join(VERIFIED)}"))
    return inner


def _check_dropout(attention: Iterable[nn.Module]) -> None:
    """No kernel drops the same weights as the padded computation, and most of them drop none."""
    dropout = max(getattr(module, "attention_dropout", 0.0) for module in attention)
    if dropout:
        raise SetupError(
            Fault(
                key="disable_dropout",
                value=False,
                rule=f"leaves an attention dropout of {dropout:g}, which packed rows cannot have",
                remedy="set disable_dropout: true, or packing: false",
            )
        )


def _unsupported(what: str, why: str) -> Fault:
    return Fault(
        key="packing", value=True, rule=f"cannot be used with {what}, which {why}", remedy="set packing: false"
    )
