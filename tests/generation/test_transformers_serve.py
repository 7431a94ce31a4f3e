"""The server engine against the server that comes with transformers."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from serving import TransformersServe
from tiny import save_gemma2

from alignment.errors import SetupError
from alignment.generation import Request, load_engine
from alignment.generation.server_engine import ServerEngine
from alignment.hub.bundled import resolve_bundled
from alignment.recipe import ModelArguments
from alignment.recipe.generation_settings import GenerationSettings
from alignment.scoring.endpoint import Endpoint

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = save_gemma2(tmp_path_factory.mktemp("model"))
    with TransformersServe(folder, tmp_path_factory.mktemp("log") / "serve.log") as running:
        yield running


def engine(server: TransformersServe, **settings):
    settings = {"temperature": 1.0, "max_new_tokens": 8, "max_in_flight": 4, **settings}
    model = ModelArguments(model_name_or_path=str(server.folder))
    return load_engine(GenerationSettings(base_url=server.address, **settings), model)


def asked(count: int, seeds=(0,)) -> list[Request]:
    return [
        Request(id=f"{at}/{seed}", messages=[{"role": "user", "content": f"Why, number {at}?"}], seed=seed)
        for at in range(count)
        for seed in seeds
    ]


def test_temperature_and_seed_are_followed(server):
    requests = asked(2, seeds=(1, 2, 3))
    one, again = ({r.id: a for r, a in engine(server, max_in_flight=1).answers(requests)} for _ in range(2))
    assert one == again
    assert all(len({one[f"{at}/{seed}"].text for seed in (1, 2, 3)}) == 3 for at in range(2))
    assert all(answer.tokens == 8 and not answer.finished for answer in one.values())
    greedy = {a.text for _, a in engine(server, temperature=0).answers(asked(1, seeds=(1, 2)))}
    assert len(greedy) == 1


def test_a_stream_is_the_greedy_answer(server):
    made = engine(server, temperature=0)
    whole = next(made.answers(asked(1)))[1]
    pieces: list[str] = []
    assert made.stream(asked(1)[0], pieces.append) == whole
    assert "".join(pieces).strip() == whole.text


def test_another_model_than_the_served_one_is_told(server):
    with pytest.raises(SetupError, match=r"Server is pinned to .* requested 'another'"):
        list(engine(server, server_model="another").answers(asked(1)))


def test_a_server_that_is_killed_and_started_again_loses_no_answer(server):
    requests = asked(12)
    endpoint = Endpoint(address=server.address, model=str(server.folder), attempts=12, first_wait=0.1)
    answers = ServerEngine(GenerationSettings(max_in_flight=2, max_new_tokens=8), endpoint).answers(requests)
    got = [next(answers)]
    server.kill()
    threading.Timer(0.5, server.start).start()
    got += answers
    assert sorted(request.id for request, _ in got) == sorted(request.id for request in requests)


def test_a_real_model_answers_alike_in_process_and_behind_a_server(tmp_path):
    """With the bundled model, where an earlier command has put it on this machine."""
    kept = Path.home() / ".cache/alignment-handbook"
    if not list(kept.glob("models/SmolLM2-135M-Instruct-*/config.json")):
        pytest.skip("the bundled model is not on this machine")
    folder = resolve_bundled("bundled:SmolLM2-135M-Instruct", cache=kept)
    questions = ["What is the capital of France?", "Name a fruit."]
    requests = [Request(id=text, messages=[{"role": "user", "content": text}], seed=0) for text in questions]
    greedy = GenerationSettings(engine="transformers", temperature=0.0, max_new_tokens=24)
    model = ModelArguments(model_name_or_path=str(folder))
    here = {request.id: answer for request, answer in load_engine(greedy, model).answers(requests)}
    with TransformersServe(folder, tmp_path / "serve.log") as server:
        asked = replace(greedy, engine="server", base_url=server.address)
        there = {request.id: answer for request, answer in load_engine(asked, model).answers(requests)}
    assert here == there
    assert "Paris" in here[questions[0]].text and here[questions[0]].finished
