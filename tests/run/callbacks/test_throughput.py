"""Figures for the log are right where they are known, and absent where they are not."""

from __future__ import annotations

import pytest
from transformers import BloomConfig, Gemma2Config, Gemma3Config, GPT2Config, MambaConfig, OPTConfig

from alignment.modeling.flops import Geometry


def test_the_text_part_of_a_multimodal_model_is_measured():
    text = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = Gemma3Config(text_config={**text, "head_dim": 16, "intermediate_size": 128, "vocab_size": 400})
    assert Geometry.known(config) == Geometry.of(
        Gemma2Config(**text, head_dim=16, intermediate_size=128, vocab_size=400)
    )


@pytest.mark.parametrize("config", [GPT2Config(), OPTConfig(), BloomConfig(), MambaConfig()])
def test_what_the_sizes_do_not_describe_is_not_guessed(config):
    assert Geometry.known(config) is None
