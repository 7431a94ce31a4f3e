"""What vLLM is told, and how its answers are read; a stand-in of its documented signatures takes its place."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
from tiny import save_gemma2

from alignment.errors import SetupError
from alignment.generation import Request, load_engine
from alignment.recipe import ModelArguments
from alignment.recipe.generation_settings import GenerationSettings

BOS, EOS, END_OF_TURN = 2, 1, 5


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_gemma2(tmp_path_factory.mktemp("model"))


@pytest.fixture
def vllm(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "vllm_stand_in"))
    importlib.invalidate_caches()
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "vllm"]:
        del sys.modules[name]


def engine(folder: Path, **settings):
    return load_engine(GenerationSettings(engine="vllm", **settings), ModelArguments(model_name_or_path=str(folder)))


def asked(seed: int = 3) -> Request:
    return Request(id=f"one/{seed}", messages=[{"role": "user", "content": "Why?"}], seed=seed)


def test_vllm_is_told_the_recipe_s_settings_and_reads_tokens_with_one_bos(folder, vllm):
    made = engine(
        folder, temperature=0.8, top_p=0.95, top_k=40, max_new_tokens=100, stop_token_ids=(77,), tensor_parallel=4
    )
    list(made.answers([asked(3), asked(4)]))
    llm = made._llm
    assert (llm.model, llm.dtype, llm.tensor_parallel_size) == (str(folder), "bfloat16", 4)
    assert llm.generation_config == "vllm"
    (prompt, params), (_, other) = llm.asked
    assert prompt["prompt_token_ids"].count(BOS) == 1 and prompt["prompt_token_ids"][0] == BOS
    assert (params.temperature, params.top_p, params.top_k, params.max_tokens) == (0.8, 0.95, 40, 100)
    assert params.stop_token_ids == [EOS, END_OF_TURN, 77] and params.stop is None
    assert (params.repetition_penalty, params.min_p, params.n) == (1.0, 0.0, 1)
    assert params.seed != other.seed and 0 <= params.seed < 2**63


def test_answers_end_at_the_end_of_the_turn_or_at_the_limit(folder, vllm):
    from vllm import SAID

    made = engine(folder, max_new_tokens=100)
    ((_, whole),) = made.answers([asked()])
    assert whole.finished and whole.tokens == SAID.index(END_OF_TURN) + 1
    ((_, short),) = engine(folder, max_new_tokens=3).answers([asked()])
    assert not short.finished and short.tokens == 3
    pieces: list[str] = []
    assert made.stream(asked(), pieces.append) == whole and pieces == [whole.text]


def test_greedy_is_temperature_0_and_all_tokens_are_0(folder, vllm):
    made = engine(folder, temperature=0)
    list(made.answers([asked()]))
    params = made._llm.asked[0][1]
    assert (params.temperature, params.top_k, params.stop, params.detokenize) == (0, 0, None, False)


def test_stop_texts_are_looked_for_in_text(folder, vllm):
    made = engine(folder, stop=("###",))
    list(made.answers([asked()]))
    params = made._llm.asked[0][1]
    assert params.stop == ["###"] and params.detokenize


def test_without_vllm_the_remedy_is_told(folder):
    if importlib.util.find_spec("vllm") is not None:
        pytest.skip("vllm is installed")
    with pytest.raises(SetupError, match=r"generation.engine vllm is not installed; .*pip install"):
        engine(folder)
