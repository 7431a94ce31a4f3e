"""Output heads whose forward takes targets: `lm_head(hidden, targets=...)` gives log-probabilities, not logits.

The weight of a sharded model (ZeRO-3, FSDP) exists only inside the forward of the module that owns it, so the
fused computation must happen there. Classes are swapped in place: parameters keep their names and identity, tied
embeddings stay tied, and a call without targets does what it always did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from alignment.errors import Fault, SetupError
from alignment.modeling.chunked_logps import Term, chunked_logps
from alignment.modeling.class_swap import mix_in


class TargetLinear(nn.Linear):
    """A linear output head that can answer for given tokens."""

    def forward(
        self, x: Tensor, *, targets: Tensor | None = None, softcap: float | None = None, terms: tuple[Term, ...] = ()
    ) -> Any:
        """Logits `[..., V]`, or for `x [N, H]` and `targets [N]` what `chunked_logps` returns.

        Args:
            terms: further summands of the logits, from adapters on this head.
        """
        if targets is None:
            return super().forward(x)
        own: list[Term] = [(x, self.weight)]
        if self.bias is not None:
            own.append((x.new_ones(len(x), 1), self.bias[:, None]))
        return chunked_logps([*own, *terms], targets, softcap=softcap)


class _AdapterOut(nn.Linear):
    """LoRA's second matrix: hands its term on and stays in its own forward until the result is there."""

    def forward(self, x: Tensor, *, into: Callable[[Term], Any] | None = None) -> Any:
        return super().forward(x) if into is None else into((x, self.weight))


class _LoraTargetHead(nn.Module):
    """Mixed into peft's LoRA layer around a `TargetLinear`; adapters by name."""

    base_layer: nn.Module
    lora_A: Mapping[str, nn.Linear]
    lora_B: Mapping[str, nn.Linear]
    lora_dropout: Mapping[str, nn.Module]
    scaling: Mapping[str, float]
    active_adapters: list[str]
    disable_adapters: bool
    merged: bool

    def forward(
        self, x: Tensor, *args: Any, targets: Tensor | None = None, softcap: float | None = None, **kwargs: Any
    ) -> Any:
        if targets is None:
            return super().forward(x, *args, **kwargs)
        adapters = [] if self.disable_adapters or self.merged else [a for a in self.active_adapters if a in self.lora_A]
        return self._with_adapters(x, adapters, (), {"targets": targets, "softcap": softcap})

    def _with_adapters(self, x: Tensor, adapters: list[str], terms: tuple[Term, ...], request: dict[str, Any]) -> Any:
        if not adapters:
            return self.base_layer(x, terms=terms, **request)
        name, *others = adapters
        reduced = self.lora_A[name](self.lora_dropout[name](x.to(self.lora_A[name].weight.dtype)))
        return self.lora_B[name](
            reduced * self.scaling[name],
            into=lambda term: self._with_adapters(x, others, (*terms, term), request),
        )


def accept_targets(head: nn.Module) -> None:
    """Make an output head answer for targets, in place; plain, LoRA-adapted or fully trained beside LoRA.

    Raises:
        SetupError: a head that computes something else than a linear map plus plain LoRA.
    """
    if isinstance(head, (TargetLinear, _LoraTargetHead)):
        return
    if type(head) is nn.Linear:
        head.__class__ = TargetLinear
    elif hasattr(head, "modules_to_save"):
        accept_targets(head.get_submodule("original_module"))
        for copy in head.get_submodule("modules_to_save").children():
            accept_targets(copy)
    elif hasattr(head, "lora_A") and hasattr(head, "base_layer"):
        _accept_targets_lora(head)
    else:
        raise SetupError(_unsupported(f"is a {type(head).__name__}"))


def _accept_targets_lora(head: nn.Module) -> None:
    variants = getattr(head, "lora_variant", {})
    if len(variants):
        raise SetupError(_unsupported(f"has a LoRA variant ({next(iter(variants.values())).__class__.__name__})"))
    adapters = list(head.get_submodule("lora_B").children())
    if any(layer.bias is not None for layer in adapters):
        raise SetupError(_unsupported("has a LoRA adapter with a bias"))
    accept_targets(head.get_submodule("base_layer"))
    for layer in adapters:
        layer.__class__ = _AdapterOut
    mix_in(_LoraTargetHead, head)


def _unsupported(what: str) -> Fault:
    return Fault(
        key="packing",
        value=True,
        rule=f"cannot be used: the model's output head {what}, which the fused log-probabilities do not cover",
        remedy="leave lm_head out of the adapter's target modules, or set packing: false",
    )


def head_softcap(config: Any) -> float | None:
    """The soft-cap that the model applies to its final logits, from its configuration."""
    softcap = getattr(config, "final_logit_softcapping", None)
    return None if softcap is None else float(softcap)
