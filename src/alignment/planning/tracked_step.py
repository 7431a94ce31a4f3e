"""What a micro-batch takes, found by running it on tensors that have sizes and no content.

The packed step of the trainers (`modeling.packed_forward`), or the padded one, runs forward and backward under
PyTorch's FakeTensorMode on a model of the recipe's widths and three layers, while MemTracker notes every tensor that
exists. All layers being alike, everything is linear in their number.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker, _MemRefType, _ModState
from transformers import AutoModelForCausalLM, PretrainedConfig

from alignment.data.packed_batches import PackedPreferenceCollator
from alignment.data.padded_batches import PaddedPreferenceCollator
from alignment.errors import Fault, SetupError, sentence_of
from alignment.losses import simpo_loss
from alignment.modeling.chunked_logps import planned_for
from alignment.modeling.dropout import disable_dropout
from alignment.modeling.flops import PairLengths
from alignment.modeling.load import attention_implementation
from alignment.modeling.logps import padded_logps
from alignment.modeling.memory_plan import checkpoint_first_layers
from alignment.modeling.output_head import accept_targets, head_softcap
from alignment.modeling.packed_forward import WithLayoutIndices, packed_logps, prepare_for_packing
from alignment.modeling.peft import inside_adapters, lora_config, wrap_with_peft
from alignment.planning import standins
from alignment.planning.step import CHECKPOINTED, LAYERS, Footprint, Step
from alignment.recipe import ModelArguments


def with_layers(config: PretrainedConfig, layers: int) -> PretrainedConfig:
    """The same architecture with fewer layers, or more."""
    settings = config.to_dict()
    kinds = settings.get("layer_types")
    changes: dict[str, Any] = {"num_hidden_layers": layers}
    if kinds:
        changes["layer_types"] = (kinds * layers)[:layers]
    for name in ("quantization_config", "auto_map", "dtype", "no_rope_layers"):
        settings.pop(name, None)
    return type(config).from_dict({**settings, **changes})


def measure(model: ModelArguments, config: PretrainedConfig, step: Step) -> Footprint:
    """Run `step` on a model of `config`, which has `LAYERS` layers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _measured(_built(model, config, step), step)
        except RuntimeError as error:
            # As a mixture of experts, which sends tokens where their content says.
            rule = f"computes what cannot be sized without content ({sentence_of(error, 120)})"
            raise SetupError(
                Fault(key="model_name_or_path", value=model.model_name_or_path, rule=rule, remedy="measure a short run")
            ) from error


def _measured(policy: nn.Module, step: Step) -> Footprint:
    with FakeTensorMode(allow_non_fake_inputs=True) as fake:
        _give_sizes(policy)
        batch = {
            name: fake.from_tensor(value) if isinstance(value, Tensor) else value
            for name, value in batch_of(step).items()
        }
        tracker = _Tracker()
        tracker.track_external(policy)
        with tracker, planned_for(step.kernels):
            for _ in range(2 if step.accumulates else 1):
                tracker.reset_mod_stats()
                run(policy, batch, step)
        return _read(tracker, policy, step)


def run(policy: nn.Module, batch: Mapping[str, Any], step: Step) -> None:
    """Forward and backward of one micro-batch, as the trainers do it."""
    with torch.autocast("cpu", torch.bfloat16) if step.autocast else nullcontext():
        if step.form == "conversations":
            loss = _conversation_loss(policy, batch)
        else:
            logps = (packed_logps if step.form == "packed" else padded_logps)(policy, batch)
            loss = simpo_loss(*logps.means.chunk(2), beta=2.0, gamma_beta_ratio=0.5)[0].mean()
    loss.backward()


def batch_of(step: Step) -> dict[str, Any]:
    """A batch with the lengths of `step`; which tokens it has does not matter."""
    if step.form == "conversations":
        return _conversations(step.lengths)
    pairs: list[Any] = [
        {"prompt_ids": [1] * p, "chosen_ids": [1] * c, "rejected_ids": [1] * r, "weight": 1.0, "index": number}
        for number, (p, c, r) in enumerate(step.lengths)
    ]
    if step.form == "packed":
        return WithLayoutIndices(PackedPreferenceCollator())(pairs)
    return PaddedPreferenceCollator(0)(pairs)


def _conversations(lengths: Sequence[PairLengths]) -> dict[str, Any]:
    width = max(map(sum, lengths))
    trained = [row * width + max(1, p) - 1 + at for row, (p, c, _) in enumerate(lengths) for at in range(max(1, c - 1))]
    ids = torch.ones(len(lengths), width, dtype=torch.long)
    places = torch.tensor(trained)
    return {"input_ids": ids, "attention_mask": ids, "predictor_index": places, "targets": places % 2}


def _conversation_loss(policy: Any, batch: Mapping[str, Any]) -> Tensor:
    """TRL's supervised loss: hidden states of the trained tokens through a head that builds no whole logits."""
    inner = inside_adapters(policy)
    hidden = inner.base_model(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False
    ).last_hidden_state.flatten(0, 1)
    selected = hidden.index_select(0, batch["predictor_index"])
    logps, _ = inner.get_output_embeddings()(selected, targets=batch["targets"], softcap=head_softcap(inner.config))
    return -logps.mean()


def _built(model: ModelArguments, config: PretrainedConfig, step: Step) -> Any:
    attention = attention_implementation(config, model.attn_implementation)
    with _default_dtype(getattr(torch, step.dtype)), torch.device("meta"):
        policy = AutoModelForCausalLM.from_config(
            config, attn_implementation=attention, trust_remote_code=model.trust_remote_code
        )
    disable_dropout(policy)
    adapters = lora_config(model)
    if adapters is not None:
        policy = wrap_with_peft(policy, adapters, SimpleNamespace(gradient_checkpointing=True))
    policy.train()
    if step.form == "packed":
        dtype = torch.bfloat16 if step.autocast else getattr(torch, step.dtype)
        prepare_for_packing(policy, dtype=dtype, device=torch.device("cpu"))
    inner: Any = policy.get_base_model() if adapters is not None else policy
    if step.form == "conversations":
        accept_targets(inner.get_output_embeddings())
    if step.kernels == "cuda" and step.form == "packed":
        inner.base_model._packed_attention = standins.attend
        standins.stand_in_for_kernels(policy)
    checkpoint_first_layers(policy, CHECKPOINTED)
    return policy


class _Tracker(MemTracker):
    """MemTracker, for models with frozen parameters, too, and without looking at every module after every operation."""

    _before = 0

    def _update_peak_stats(self, peak_state: Any) -> None:
        now = sum(found["Total"] for found in self._curr_mem_snap.values())
        if now > self._before:  # else no module has reached a new peak
            super()._update_peak_stats(peak_state)
        self._before = now

    def _track_module_params_and_buffers(self, module: nn.Module, install_grad_hooks: bool = True) -> tuple[int, int]:
        frozen = [parameter for parameter in module.parameters() if not parameter.requires_grad]
        for parameter in frozen:
            parameter.requires_grad_(True)
        try:
            return super()._track_module_params_and_buffers(module, install_grad_hooks)
        finally:
            for parameter in frozen:
                parameter.requires_grad_(False)


def _give_sizes(policy: nn.Module) -> None:
    """Parameters and buffers of a model on the meta device as tensors of the mode at hand; tied ones stay tied."""
    given: dict[int, Tensor] = {}
    for module in policy.modules():
        tables: tuple[Any, Any] = (module._parameters, module._buffers)
        for tensors in tables:
            for name, tensor in tensors.items():
                if tensor is not None:
                    tensors[name] = given.setdefault(id(tensor), _with_size(tensor))


def _with_size(tensor: Tensor) -> Tensor:
    plain = torch.empty(tensor.shape, dtype=tensor.dtype)
    return nn.Parameter(plain, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else plain


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Build modules in `dtype`: casting them afterwards fails without content."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def _read(tracker: MemTracker, policy: Any, step: Step) -> Footprint:
    """The moments of the last micro-batch."""
    inner = inside_adapters(policy)
    first, second, last = inner.base_model.layers
    embedding, output = inner.get_input_embeddings(), inner.get_output_embeddings()
    layer_gradients = 0.0
    if not step.accumulates:
        layer_gradients = sum(p.numel() * p.element_size() for p in first.parameters() if p.requires_grad)

    def taken(module: nn.Module, *states: _ModState) -> float:
        """Bytes at a moment of a module, the largest of several; weights do not count, nor gradients from before."""
        found = (tracker.memory_tracking[module].snapshots.get(state) for state in states)
        # A frozen embedding has no backward pass.
        return max((_beside_states(moments[-1], step.accumulates) for moments in found if moments), default=0.0)

    after_one, after_two, after_all = (taken(layer, _ModState.POST_FW) for layer in (first, second, last))
    checkpointed, full = after_two - after_one, after_all - after_two
    base = after_all - full - CHECKPOINTED * checkpointed
    before_second = base + CHECKPOINTED * checkpointed + layer_gradients
    head = taken(output, _ModState.PEAK_FW, _ModState.PEAK_BW)
    later = [taken(module, _ModState.PEAK_BW) for module in (last, second, embedding)]
    peak = _beside_states(tracker.get_tracker_snapshot("peak"), step.accumulates)
    if peak > max(head, *later):
        head = peak  # the loss, which is in no module
    return Footprint(
        base=base,
        full_layer=full,
        checkpointed_layer=checkpointed,
        head=head - after_all,
        full_backward=later[0] - after_all,
        checkpointed_backward=later[1] - before_second,
        end=max(0.0, later[2] - base - LAYERS * layer_gradients),
        layer_gradients=layer_gradients,
    )


def _beside_states(moment: Mapping[Any, Mapping[Any, int]], accumulates: bool) -> float:
    found = moment[torch.device("cpu")]
    states = (_MemRefType.PARAM, _MemRefType.BUFFER, *([_MemRefType.GRAD] if accumulates else []))
    return float(found["Total"] - sum(found[kind] for kind in states))
