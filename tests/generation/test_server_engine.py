"""Answers over real HTTP: what is asked, how many at a time, and what becomes of a server in trouble."""

from __future__ import annotations

import itertools
import json
import threading
import time

import pytest
from judging import JudgeServer, Reply, says

from alignment.errors import SetupError
from alignment.generation import load_engine
from alignment.generation.engine import Request
from alignment.generation.server_engine import KEY, ServerEngine
from alignment.recipe import ModelArguments
from alignment.recipe.generation_settings import GenerationSettings
from alignment.scoring.endpoint import Endpoint

SECRET = "sk-of-a-test-0123456789abcdef"


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def asked(count: int) -> list[Request]:
    return [
        Request(id=f"{at}/{seed}", messages=[{"role": "user", "content": f"Question {at}?"}], seed=seed)
        for at in range(count)
        for seed in (13, 21)
    ]


def answers(body: dict) -> Reply:
    """What the tests' server says to a question, so that each answer tells its request."""
    text = f" {body['messages'][-1]['content']} {body['seed']}\n"
    return says(text, finish_reason="stop" if body["seed"] == 13 else "length", usage={"completion_tokens": 7})


def engine(server: JudgeServer, *, attempts: int = 6, timeout: float = 30, **settings) -> ServerEngine:
    settings = {"max_in_flight": 4, **settings}
    endpoint = Endpoint(address=server.address, model="m", timeout=timeout, attempts=attempts, first_wait=0.01, key=KEY)
    return ServerEngine(GenerationSettings(base_url=server.address, **settings), endpoint)


def told(made: ServerEngine, requests) -> dict[str, tuple[str, bool, int | None]]:
    return {request.id: (answer.text, answer.finished, answer.tokens) for request, answer in made.answers(requests)}


def expected(requests) -> dict[str, tuple[str, bool, int]]:
    return {
        request.id: (f"{request.messages[0]['content']} {request.seed}", request.seed == 13, 7) for request in requests
    }


def test_each_request_is_asked_with_the_settings_and_its_seed(monkeypatch):
    monkeypatch.setenv("MY_KEY", SECRET)
    settings = GenerationSettings(
        engine="server", key_variable="MY_KEY", temperature=0.7, top_p=0.95, top_k=0, max_new_tokens=9,
        stop=("###",), stop_token_ids=(5,), server_model="served",
    )  # fmt: skip
    requests = asked(3)
    with JudgeServer(lambda body, _: answers(body)) as server:
        made = load_engine(
            GenerationSettings(**{**vars(settings), "base_url": server.address}), ModelArguments(model_name_or_path="x")
        )
        assert told(made, requests) == expected(requests)
    assert set(server.keys) == {f"Bearer {SECRET}"}
    body = next(body for body in server.requests if body["seed"] == 21)
    del body["messages"]
    assert body == {
        "path": "/v1/chat/completions", "model": "served", "seed": 21, "temperature": 0.7, "top_p": 0.95, "top_k": -1,
        "max_tokens": 9, "stop": ["###"], "stop_token_ids": [5],
    }  # fmt: skip


def test_fields_that_some_servers_refuse_are_sent_only_when_stated():
    with JudgeServer(lambda body, _: answers(body)) as server:
        told(engine(server), asked(1))
    assert set(server.requests[0]) == {"path", "model", "messages", "seed", "temperature", "top_p", "max_tokens"}


def test_so_many_are_open_at_once_and_requests_are_taken_as_needed():
    all_there = threading.Barrier(4)
    taken = itertools.count()

    def reply(body, _):
        try:
            all_there.wait(timeout=20)  # broken unless four are open together
        except threading.BrokenBarrierError:
            return Reply(status=400, body="fewer than four were open")
        return answers(body)

    endless = (request for at in itertools.count() if next(taken) >= 0 for request in asked(1))
    with JudgeServer(reply) as server:
        got = list(itertools.islice(engine(server).answers(endless), 8))
        assert len(got) == 8 and server.most_at_once == 4
        assert next(taken) <= 8
        all_there.abort()


TROUBLES = [
    Reply(status=429, headers={"Retry-After": "0"}),
    Reply(status=500, body="oh"),
    Reply(status=503),
    Reply(status=None),
    Reply(status=529, headers={"Retry-After": "soon"}),
]


def test_a_server_in_trouble_is_asked_again_and_nothing_is_lost_or_doubled():
    requests = asked(10)
    seen: dict[tuple, int] = {}

    def reply(body, _):
        key = (body["messages"][0]["content"], body["seed"])
        seen[key] = seen.get(key, -1) + 1
        at = seen[key]
        number = int(body["messages"][0]["content"].split()[1][:-1])
        return TROUBLES[(number + at) % len(TROUBLES)] if at < number % 4 else answers(body)

    with JudgeServer(reply) as server:
        got = list(engine(server).answers(requests))
    assert sorted(request.id for request, _ in got) == sorted(request.id for request in requests)
    assert {r.id: (a.text, a.finished, a.tokens) for r, a in got} == expected(requests)


def test_a_server_that_does_not_answer_in_time_is_asked_again():
    def reply(body, before):
        time.sleep(0.6 if before == 0 else 0)
        return answers(body)

    with JudgeServer(reply) as server:
        assert told(engine(server, timeout=0.3), asked(1)[:1]) == expected(asked(1)[:1])


def test_a_server_that_dies_and_comes_back_is_waited_for():
    requests = asked(12)
    died = threading.Event()

    def reply(body, _):
        if body["messages"][0]["content"] == "Question 6?":
            died.set()
            return Reply(status=None)
        return answers(body)

    first = JudgeServer(reply)
    second: list[JudgeServer] = []

    def revive():
        died.wait(20)
        first.__exit__()
        time.sleep(0.3)
        second.append(JudgeServer(lambda body, _: answers(body), port=first.port).__enter__())

    first.__enter__()
    threading.Thread(target=revive, daemon=True).start()
    assert told(engine(first, attempts=12), requests) == expected(requests)
    assert second[0].requests
    second[0].__exit__()


NONSENSE = [
    (Reply(body="<html>"), "does not speak the protocol of chat completions: <html>"),
    (Reply(body='{"choices": []}'), "does not speak the protocol"),
    (Reply(body='{"choices": [{"message": "hello"}]}'), "does not speak the protocol"),
    (says("Yes."), "says nothing of the finish_reason of an answer, so there is no telling whether it is complete"),
    (says("Yes.", finish_reason="tired"), "says 'tired' as finish_reason of an answer"),
    (Reply(status=400, body="no such field"), "answers 400: no such field"),
]


@pytest.mark.parametrize(("reply", "message"), NONSENSE)
def test_nonsense_is_told_once_and_the_answers_that_are_open_still_come(reply, message):
    good = threading.Barrier(3)

    def mixed(body, _):
        if body["messages"][0]["content"] == "Question 1?" and body["seed"] == 21:
            good.wait(20)  # until two others are open
            return reply
        good.wait(20)
        time.sleep(0.2)
        return answers(body)

    got = []
    with JudgeServer(mixed) as server, pytest.raises(SetupError) as error:
        got.extend(engine(server, max_in_flight=3).answers(iter([*asked(2)[1:4], *asked(40)[4:]])))
    assert message in str(error.value) and len(error.value.faults) == 1
    assert f"(request 1/21):\n  - generation.base_url {server.address}" in str(error.value)
    assert [request.id for request, _ in sorted(got, key=lambda one: one[0].id)] == ["0/21", "1/13"]
    assert len(server.requests) == 3


def test_answers_before_a_failure_are_given():
    def mixed(body, _):
        if body["messages"][0]["content"] == "Question 5?":
            return Reply(status=403, body="enough")
        return answers(body)

    got = {}
    with JudgeServer(mixed) as server, pytest.raises(SetupError, match="answers 403: enough"):
        for request, answer in engine(server, max_in_flight=1).answers(asked(20)):
            got[request.id] = answer.text
    assert set(got) == {request.id for request in asked(5)}
    assert len(server.requests) <= 12


def test_a_server_that_stays_in_trouble_is_given_up():
    given_up = pytest.raises(SetupError, match="answers 500: oh, 3 times; see whether it runs")
    with JudgeServer(lambda *_: Reply(status=500, body="oh")) as server, given_up:
        told(engine(server, attempts=3), asked(4))


def load(address: str, **settings):
    return load_engine(
        GenerationSettings(base_url=address, **settings), ModelArguments(model_name_or_path="org/a-model")
    )


def test_a_server_that_is_not_there_is_told_at_once():
    with JudgeServer(lambda *_: Reply()) as server:
        pass
    with pytest.raises(SetupError, match=r"generation.base_url .* cannot be reached .*; start the server, or correct"):
        load(server.address)


def test_a_server_in_trouble_at_the_start_is_none_that_is_not_there():
    looks: list[str] = []

    class Pages(dict):
        def get(self, path, default=None):
            looks.append(path)
            return Reply(status=(None, 503, 200)[len(looks) % 3], body="{}")

    with JudgeServer(lambda body, _: answers(body), pages=Pages(any=1)) as server:
        assert told(load(server.address), asked(1)) == expected(asked(1))
    assert looks[:2] == ["/v1/models", "/openapi.json"] or looks.count("/v1/models") > 1


def test_a_server_that_wants_a_key_is_told_at_once(monkeypatch):
    monkeypatch.setenv("MY_KEY", SECRET)
    refused = {"/v1/models": Reply(status=401, body=f"{SECRET} is unknown")}
    with JudgeServer(lambda *_: Reply(), pages=refused) as server:
        with pytest.raises(SetupError) as error:
            load(server.address, key_variable="MY_KEY")
        with pytest.raises(SetupError, match="set OPENAI_API_KEY to a key of this server; it is not set"):
            load(server.address)
    assert "answers 401" in str(error.value) and SECRET not in str(error.value)


@pytest.mark.parametrize("address", ["http://", "http://user:pass@host/v1", "http://host/v1?key=1", "http://[::"])
def test_an_address_that_is_none_or_holds_a_secret_is_refused(address):
    with pytest.raises(SetupError) as error:
        load(address)
    assert "generation.base_url" in str(error.value) and "pass@" not in str(error.value)


def test_a_model_that_is_not_served_is_told_with_those_that_are():
    pages = {"/v1/models": Reply(body=json.dumps({"data": [{"id": "gemma"}, {"id": "smol"}]}))}
    refused = pytest.raises(SetupError, match="the name of the model, org/a-model; it serves gemma, smol")
    with JudgeServer(lambda *_: Reply(status=404, body="no such model"), pages=pages) as server, refused:
        told(load(server.address), asked(1))


def stream_of(*events: object) -> Reply:
    lines = [f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n" for event in events]
    return Reply(body=": ping\n\n" + "".join(lines), headers={"Content-Type": "text/event-stream"})


def delta(content: str | None = None, **choice: object) -> dict:
    return {"choices": [{"delta": {} if content is None else {"content": content}, **choice}]}


def test_a_stream_is_written_as_it_comes():
    events = [
        delta("It "),
        delta("is so."),
        delta(finish_reason="stop"),
        {"choices": [], "usage": {"completion_tokens": 4}},
    ]
    pieces: list[str] = []
    with JudgeServer(lambda *_: stream_of(*events, "[DONE]")) as server:
        answer = engine(server).stream(asked(1)[0], pieces.append)
    assert (answer.text, answer.finished, answer.tokens) == ("It is so.", True, 4)
    assert [piece for piece in pieces if piece] == ["It ", "is so."] and server.requests[0]["stream"] is True


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (stream_of({"error": "out of memory"}), "does not speak the protocol of chat completions"),
        (stream_of("{"), "does not speak the protocol of chat completions"),
        (stream_of(delta("half")), "says nothing of the finish_reason"),
        (Reply(status=None), "cannot be reached"),
        (Reply(status=400, body="too long"), "answers 400: too long"),
    ],
)
def test_a_stream_of_nonsense_is_told(reply, message):
    with JudgeServer(lambda *_: reply) as server, pytest.raises(SetupError, match=message):
        engine(server).stream(asked(1)[0], lambda _: None)
