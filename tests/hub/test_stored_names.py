"""What a folder must hold is said in the names of the files, whatever the names in memory."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors import safe_open
from transformers import AutoModelForCausalLM, LlamaConfig, MixtralConfig, PretrainedConfig

from alignment.publish.weights import _expected

SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "vocab_size": 32}
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 1}


@pytest.mark.parametrize(
    "config", [MixtralConfig(**SIZES, **HEADS, num_local_experts=2), LlamaConfig(**SIZES, **HEADS)]
)
def test_the_names_that_are_expected_are_those_that_are_saved(tmp_path: Path, config: PretrainedConfig) -> None:
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        saved = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    assert _expected(tmp_path, trust_remote_code=False) == (saved, set())
