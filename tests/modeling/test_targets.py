"""Names of modules that adapters are put on: each must be there."""

from __future__ import annotations

import pytest
from peft import get_peft_model
from tiny import gemma2

from alignment.errors import SetupError
from alignment.modeling.adapter_targets import check_targets
from alignment.modeling.peft import lora_config
from alignment.recipe import ModelArguments


def adapters(**arguments):
    return lora_config(ModelArguments(model_name_or_path="x", use_peft=True, **arguments))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            {"lora_target_modules": ("query_key_value",)},
            "lora_target_modules query_key_value is not a module of gemma2; choose among down_proj, gate_proj, k_proj, "
            "lm_head, o_proj, q_proj, up_proj, v_proj.",
        ),
        ({"lora_target_modules": "qproj"}, "qproj is not a module of gemma2; did you mean q_proj or"),
        ({"lora_target_modules": ".*[.]z_proj"}, ".*[.]z_proj is a pattern that matches no name of a module"),
        ({"lora_target_modules": "*"}, "* is a pattern that matches no name of a module"),
        (
            {"lora_target_modules": ("q_proj",), "lora_modules_to_save": ("score_head",)},
            "lora_modules_to_save score_head is not a module of gemma2",
        ),
        (
            {"lora_target_modules": ("q_proj", "k_proj"), "lora_r": 33},
            "lora_r 33 must be at most 32, the smaller side of model.layers.0.self_attn.k_proj; lower it",
        ),
        ({"lora_target_modules": "all-linear", "lora_r": 500}, "lora_r 500 must be at most 32"),
        ({"lora_target_parameters": ("q_proj.wait",)}, "lora_target_parameters q_proj.wait is not a parameter"),
    ],
)
def test_a_name_that_stands_for_nothing_is_refused(arguments, told):
    with pytest.raises(SetupError) as caught:
        check_targets(gemma2(), adapters(**arguments))
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "trained"),
    [
        ({"lora_target_modules": "q_proj"}, {"q_proj"}),
        ({"lora_target_modules": ("self_attn.q_proj", "v_proj")}, {"q_proj", "v_proj"}),
        ({"lora_target_modules": r".*\.[kv]_proj"}, {"k_proj", "v_proj"}),
        ({"lora_target_modules": ("q_proj",), "lora_modules_to_save": ("embed_tokens",)}, {"q_proj", "embed_tokens"}),
    ],
)
def test_names_that_stand_for_modules_are_trained(arguments, trained):
    model, config = gemma2(), adapters(**arguments)
    check_targets(model, config)
    names = [name for name, weight in get_peft_model(model, config).named_parameters() if weight.requires_grad]
    assert {part for name in names for part in name.split(".") if part.endswith(("_proj", "embed_tokens"))} == trained
