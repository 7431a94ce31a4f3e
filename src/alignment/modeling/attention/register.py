"""How a transformers model comes to use our attention for packed rows, and its own for everything else.

The model's attention modules look their function up by name in `config._attn_implementation` at every call. Hooks
around each module set our name there for the duration of a call that carries `shared_prompts`, and only then:
generation, padded batches and `save_pretrained` never notice. The layout travels as an argument of the call, so a
checkpointed layer that is computed again in the backward pass finds it, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface

from alignment.modeling.attention.attend import Attend, Scores
from alignment.modeling.attention.layout import SharedPrompts
from alignment.modeling.chunked_logps import compute_dtype_of

NAME = "alignment_shared_prompts"


@dataclass(frozen=True)
class PackedCall:
    """What travels through a model's layers: the row's layout and the backend that serves it."""

    layout: SharedPrompts
    attend: Attend


def serve_shared_prompts(attention_modules: list[nn.Module]) -> None:
    """Let these attention modules answer calls with a `shared_prompts` argument. Done once a model."""
    AttentionInterface.register(NAME, _attention)
    for module in attention_modules:
        switch = _Switch()
        module.register_forward_pre_hook(switch.on, with_kwargs=True)
        module.register_forward_hook(switch.off, with_kwargs=True, always_call=True)


class _Switch:
    """Sets and restores the name of the attention function around one call."""

    def on(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if kwargs.get("shared_prompts") is not None:
            config: Any = module.config
            self.own = config._attn_implementation_internal
            config._attn_implementation_internal = NAME

    def off(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        if kwargs.get("shared_prompts") is not None:
            config: Any = module.config
            config._attn_implementation_internal = self.own


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    shared_prompts: PackedCall,
    scaling: float,
    dropout: float = 0.0,
    softcap: float | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """transformers' attention signature: `[1, heads, T, dim]` in, `[1, T, heads, dim]` out."""
    if dropout:
        raise ValueError(f"attention dropout {dropout} cannot be used with packed rows; set disable_dropout: true")
    # Under autocast the projections give 16 bits, but rotary angles and norms give queries and keys in fp32. One dtype
    # reaches every backend, and it is the one that the probe has tested.
    dtype = compute_dtype_of(value)
    q, k, v = (x[0].transpose(0, 1).to(dtype) for x in (query, key, value))
    layout = shared_prompts.layout
    # A window that cuts nothing is none: sliding and full layers then share one mask and one kernel.
    window = sliding_window if sliding_window and sliding_window < layout.longest else None
    out = shared_prompts.attend(q, k, v, layout, Scores(scale=scaling, softcap=softcap, window=window))
    layout.calls += 1
    return out[None], None
