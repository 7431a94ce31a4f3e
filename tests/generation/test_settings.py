"""Settings that cannot be meant are named, all at once."""

from __future__ import annotations

import pytest

from alignment.errors import SetupError
from alignment.generation import load_engine
from alignment.recipe import ModelArguments
from alignment.recipe.generation_settings import GenerationSettings

WRONG = [
    ({"engine": "vlm"}, "generation.engine vlm must be one of auto, transformers, vllm, server; did you mean vllm?"),
    ({"engine": "server"}, "generation.base_url must be stated for the engine server"),
    ({"engine": "vllm", "base_url": "http://localhost/v1"}, "is read by the engine server, and the engine is vllm"),
    ({"temperature": 1e-9}, "generation.temperature 1e-09 must be 0 (greedy), or between 0.001 and 100"),
    ({"temperature": float("nan")}, "generation.temperature nan must be"),
    ({"top_p": 0.0}, "generation.top_p 0.0 must be above 0 and at most 1"),
    ({"top_k": -1}, "generation.top_k -1 must not be negative; 0 draws from all tokens"),
    ({"max_new_tokens": 0}, "generation.max_new_tokens 0 must be at least 1"),
    ({"max_in_flight": 10**6}, "generation.max_in_flight 1000000 must be at least 1 and at most 4096"),
    ({"timeout": float("inf")}, "generation.timeout inf must be above 0"),
    ({"seeds": ()}, "generation.seeds () must be one or more different whole numbers"),
    ({"seeds": (1, 1)}, "generation.seeds (1, 1) must be one or more different whole numbers"),
    ({"seeds": (1, 2), "temperature": 0}, "generation.seeds (1, 2) must be one seed at temperature 0"),
    ({"stop": ("", "x")}, "must hold no empty text"),
    ({"stop_token_ids": (-1,)}, "must hold token ids"),
]


@pytest.mark.parametrize(("settings", "told"), WRONG)
def test_a_wrong_setting_is_named_before_anything_is_loaded(settings, told):
    with pytest.raises(SetupError) as error:
        load_engine(GenerationSettings(**settings), ModelArguments(model_name_or_path="/nowhere"))
    assert told in str(error.value)
    assert len(error.value.faults) == 1


def test_every_wrong_setting_is_named_at_once():
    settings = GenerationSettings(engine="x", top_p=2, max_new_tokens=0, seeds=(-1,))
    assert [fault.key for fault in settings.faults("pairs.generation")] == [
        "pairs.generation.engine",
        "pairs.generation.max_new_tokens",
        "pairs.generation.top_p",
        "pairs.generation.seeds",
    ]


def test_the_original_s_settings_are_sound():
    original = GenerationSettings(
        engine="vllm", temperature=0.8, top_p=0.95, max_new_tokens=4096, seeds=(13, 21, 42, 79, 100)
    )
    assert list(original.faults()) == []
