"""What preparing a model changes, and what it must leave alone: adapters, generation, saving, copies, refusals."""

from __future__ import annotations

import copy

import pytest
import torch
from packing_models import CONFIGS, build, distance, gradients, packed, padded, random_pairs
from peft import LoraConfig, PromptTuningConfig, get_peft_model
from transformers import AutoModelForCausalLM, GPT2Config

from alignment.errors import SetupError
from alignment.modeling.attention import segments
from alignment.modeling.logps import padded_logps
from alignment.modeling.memory_plan import checkpoint_first_layers
from alignment.modeling.packed_forward import packed_logps, prepare_for_packing

LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def adapted(name: str, **changes) -> torch.nn.Module:
    """A model with LoRA whose second matrices are not zero, so that the adapter takes part."""
    settings = {"r": 4, "target_modules": LINEARS, "lora_dropout": 0.0, "task_type": "CAUSAL_LM", **changes}
    model = get_peft_model(build(name), LoraConfig(**settings))
    for parameter_name, parameter in model.named_parameters():
        if "lora_B" in parameter_name:
            torch.nn.init.normal_(parameter, std=0.05)
    return model


def results(model, logps) -> dict[str, torch.Tensor]:
    return {"sums": logps.sums.detach(), "logits": logps.logit_means, **gradients(model, logps.means.square().mean())}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"target_modules": [*LINEARS, "lm_head"]},
        {"target_modules": [*LINEARS, "lm_head"], "use_rslora": True, "lora_alpha": 3},
        {"modules_to_save": ["lm_head"]},
    ],
    ids=["linears", "linears and head", "rank-stabilized", "trained head"],
)
@pytest.mark.parametrize("name", ["gemma2", "qwen3"])
def test_adapters_give_the_padded_results(name, changes):
    pairs, model = random_pairs(6), adapted(name, **changes)
    expected = results(model, padded_logps(model, padded(pairs)))
    prepare_for_packing(model)
    assert distance(results(model, packed_logps(model, packed(pairs))), expected) < 1e-5


def test_two_adapters_on_the_head_and_none():
    pairs, model = random_pairs(4), adapted("llama", target_modules=["lm_head"])
    model.add_adapter("second", LoraConfig(r=3, target_modules=["lm_head", "q_proj"], init_lora_weights=False))
    prepare_for_packing(model)
    for choose in (
        lambda: model.base_model.set_adapter(["default", "second"]),
        model.base_model.disable_adapter_layers,
    ):
        choose()
        expected, found = padded_logps(model, padded(pairs)).sums, packed_logps(model, packed(pairs)).sums
        assert torch.allclose(found, expected, rtol=1e-5)


def test_only_the_first_layers_are_checkpointed():
    pairs, model = random_pairs(4), build("gemma2")
    prepare_for_packing(model)
    expected = results(model, packed_logps(model, packed(pairs)))
    checkpoint_first_layers(model, 1)
    assert [layer.gradient_checkpointing for layer in model.model.layers] == [True, False]
    assert distance(results(model, packed_logps(model, packed(pairs))), expected) < 1e-6


@pytest.mark.parametrize(("longest", "windows"), [(2, {None}), (20, {5, None})])
def test_a_window_that_cuts_nothing_is_none_to_the_kernel(longest, windows):
    model, seen = build("gemma2, narrow"), set()
    prepare_for_packing(model)

    def attend(query, key, value, layout, scores):
        seen.add(scores.window)
        return segments.attend(query, key, value, layout, scores)

    model.base_model._packed_attention = attend
    pairs = random_pairs(6, longest=longest)
    assert torch.allclose(packed_logps(model, packed(pairs)).sums, padded_logps(model, padded(pairs)).sums, rtol=1e-5)
    assert seen == windows


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_generation_and_plain_calls_stay_what_they_were(implementation):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIGS["llama"], attn_implementation=implementation)
    ids = torch.randint(3, 300, (2, 9), generator=torch.Generator().manual_seed(1))
    ask = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "max_new_tokens": 8, "do_sample": False}
    answer, logits = model.generate(**ask, pad_token_id=0), model(ids).logits
    prepare_for_packing(model)
    packed_logps(model, packed(random_pairs(3))).sums.sum().backward()
    assert torch.equal(model.generate(**ask, pad_token_id=0), answer)
    assert torch.equal(model(ids).logits, logits)
    assert model.config._attn_implementation == implementation


def test_an_error_inside_a_packed_call_leaves_the_model_usable():
    model = build("llama")
    prepare_for_packing(model)
    batch = packed(random_pairs(3))
    with pytest.raises(RuntimeError):
        packed_logps(model, {**batch, "pair_lengths": [(1, 1, 1)]})
    assert model.config._attn_implementation == "eager"
    assert packed_logps(model, batch).sums.isfinite().all()


def test_names_ties_and_files_stay_what_they_were(tmp_path):
    model = build("smollm")
    names, logits = [name for name, _ in model.named_parameters()], model(torch.tensor([[5, 6, 7]])).logits
    prepare_for_packing(model)
    prepare_for_packing(model)
    assert [name for name, _ in model.named_parameters()] == names
    assert model.lm_head.weight is model.model.embed_tokens.weight
    model.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager")
    assert loaded.config.architectures == ["LlamaForCausalLM"]
    assert torch.equal(loaded(torch.tensor([[5, 6, 7]])).logits, logits)


def test_a_copy_is_a_model_of_its_own():
    pairs, model = random_pairs(3), build("gemma2")
    prepare_for_packing(model)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(0.5)
    expected = padded_logps(other, padded(pairs)).sums
    assert torch.allclose(packed_logps(other, packed(pairs)).sums, expected, rtol=1e-4)
    assert not torch.allclose(packed_logps(model, packed(pairs)).sums, expected, rtol=1e-2)


def test_under_autocast_the_weights_stay_fp32_and_the_error_is_that_of_bf16():
    pairs, model = random_pairs(6), build("gemma2")
    exact = padded_logps(model, padded(pairs)).means
    prepare_for_packing(model)
    with torch.autocast("cpu", torch.bfloat16):
        plain = padded_logps(model, padded(pairs)).means
        found = packed_logps(model, packed(pairs)).means
    found.sum().backward()
    assert found.dtype == model.lm_head.weight.grad.dtype == torch.float32
    assert (found - exact).norm() < 1.5 * (plain - exact).norm()


def test_an_architecture_that_is_not_proven_is_refused():
    model = AutoModelForCausalLM.from_config(GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=20))
    with pytest.raises(SetupError, match=r"gpt2, which has not been proven equal.*packing: false"):
        prepare_for_packing(model)


@pytest.mark.parametrize("changes", [{"use_dora": True}, {"lora_bias": True}], ids=str)
def test_an_adapted_head_that_is_not_plain_lora_is_refused(changes):
    with pytest.raises(SetupError, match="output head"):
        prepare_for_packing(adapted("llama", target_modules=["lm_head"], **changes))


def test_prompt_learning_is_refused():
    model = get_peft_model(build("llama"), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2))
    with pytest.raises(SetupError, match="prompt learning"):
        prepare_for_packing(model)


def test_attention_dropout_that_is_turned_on_later_is_refused_in_the_call():
    model = build("llama")
    prepare_for_packing(model)
    for layer in model.model.layers:
        layer.self_attn.attention_dropout = 0.1
    with pytest.raises(ValueError, match="disable_dropout: true"):
        packed_logps(model, packed(random_pairs(2)))
