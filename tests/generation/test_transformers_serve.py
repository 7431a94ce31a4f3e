"""The server engine against the server that comes with transformers."""

from __future__ import annotations

import threading

import pytest
from serving import TransformersServe
from tiny import save_gemma2

from alignment.errors import SetupError
from alignment.generation import Request, load_engine
from alignment.generation.server_engine import ServerEngine
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
