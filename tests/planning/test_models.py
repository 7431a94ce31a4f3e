"""Weights counted without a model, against the counts that its makers published."""

from __future__ import annotations

import pytest
from tiny import save_gemma2

from alignment.errors import SetupError
from alignment.planning.known_models import KNOWN_MODELS, known_model
from alignment.planning.model_facts import model_facts
from alignment.recipe import ModelArguments

PUBLISHED = {
    "google/gemma-2-9b-it": 9_241_705_984,
    "google/gemma-3-1b-it": 999_885_952,
    "meta-llama/Meta-Llama-3-8B-Instruct": 8_030_261_248,
    "meta-llama/Llama-3.2-1B-Instruct": 1_235_814_400,
    "mistralai/Mistral-7B-Instruct-v0.2": 7_241_732_096,
    "mistralai/Mixtral-8x7B-v0.1": 46_702_792_704,
    "HuggingFaceH4/zephyr-orpo-141b-A35b-v0.1": 140_620_634_112,
    "Qwen/Qwen2.5-7B-Instruct": 7_615_616_512,
    "Qwen/Qwen3-8B": 8_190_735_360,
    "microsoft/Phi-3-mini-4k-instruct": 3_821_079_552,
    "microsoft/phi-4": 14_659_507_200,
    "HuggingFaceTB/SmolLM2-1.7B-Instruct": 1_711_376_384,
    "HuggingFaceTB/SmolLM3-3B": 3_075_098_624,
    "bigcode/starcoder2-15b": 15_957_889_024,
}
"""Tensors of the published safetensors files."""


@pytest.fixture(autouse=True)
def nothing_cached(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("ALIGNMENT_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(("name", "count"), PUBLISHED.items())
def test_counts_are_those_of_the_published_files(name: str, count: int):
    facts = model_facts(ModelArguments(model_name_or_path=name))
    assert (facts.parameters, facts.trainable) == (count, count)
    assert "not here" in facts.source


def test_adapters_are_counted_one_by_one():
    """Gemma-2-2B, rank 8 on all seven linear maps of 26 layers: r x (in + out) each."""
    lora = {"use_peft": True, "lora_r": 8, "lora_target_modules": "all-linear", "dtype": "bfloat16"}
    hidden, queries, keys, wide = 2304, 2048, 1024, 9216
    sides = (hidden + queries) * 2 + (hidden + keys) * 2 + (hidden + wide) * 3
    facts = model_facts(ModelArguments(model_name_or_path="google/gemma-2-2b-it", **lora))
    assert facts.trainable == 26 * 8 * sides
    assert facts.frozen_bytes == 2 * facts.parameters

    quantized = ModelArguments(model_name_or_path="google/gemma-2-2b-it", **lora, load_in_4bit=True)
    linear = 26 * (hidden * queries * 2 + hidden * keys * 2 + hidden * wide * 3)
    found = model_facts(quantized)
    assert found.trainable == facts.trainable
    assert found.frozen_bytes == (0.5 + 4 / 64) * linear + 4 * (facts.parameters - linear)


def test_a_model_of_ones_own_is_counted_from_its_folder(tmp_path):
    from transformers import AutoModelForCausalLM

    folder = save_gemma2(tmp_path / "model")
    facts = model_facts(ModelArguments(model_name_or_path=str(folder)))
    assert facts.parameters == sum(p.numel() for p in AutoModelForCausalLM.from_pretrained(folder).parameters())


def test_a_model_that_nobody_knows_is_told_with_what_helps():
    with pytest.raises(SetupError, match="hf download me/own-model config"):
        model_facts(ModelArguments(model_name_or_path="me/own-model"))


def test_ids_are_known_without_regard_to_case_and_no_other_size_answers():
    assert known_model("GOOGLE/Gemma-2-9B-IT") is known_model("google/gemma-2-9b")
    assert known_model("Qwen/Qwen2.5-70B") is None
    assert all(
        known_model(pattern.replace("*", "x")) for model in KNOWN_MODELS for pattern in model.ids if "[" not in pattern
    )
