from __future__ import annotations

import json
import threading
from datetime import UTC, datetime

import pytest
from judging import JudgeServer, Reply, says
from scored import conversations

from alignment.errors import SetupError
from alignment.scoring import load_scorer
from alignment.scoring.headers import retry_after
from alignment.scoring.judge import JudgeStopped, UnjudgedError, read_score

KEY = "sk-of-a-test-0123456789abcdef"


@pytest.fixture(autouse=True)
def waits(monkeypatch) -> list[float]:
    """What was waited for, without the waiting."""
    waited: list[float] = []

    class Unhurried(threading.Event):
        def wait(self, timeout=None):
            waited.append(timeout)
            return self.is_set()

    monkeypatch.setattr("alignment.scoring.endpoint.Event", Unhurried)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return waited


def judge(server: JudgeServer, **options):
    return load_scorer(server.address, model="a-judge", **options)


def words_in_answer(body: dict) -> int:
    """Of the conversation that the judge was asked about."""
    return len(json.loads(body["messages"][1]["content"])["conversation"][-1]["content"].split())


def test_scores_come_back_in_order_and_the_judge_is_asked_with_rubric_scale_and_key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    rows = conversations(9)
    with JudgeServer(lambda body, _: says(f"It has words.\n\nScore: {words_in_answer(body)}.5\n")) as server:
        scores = judge(server, rubric="Count the words.", highest=100, temperature=0.3, max_tokens=7).score(rows)
    assert scores == [len(row[-1]["content"].split()) + 0.5 for row in rows]
    assert set(server.keys) == {f"Bearer {KEY}"}
    asked = server.requests[0]
    assert asked["path"] == "/v1/chat/completions"
    assert (asked["model"], asked["temperature"], asked["max_tokens"]) == ("a-judge", 0.3, 7)
    assert asked["messages"][0]["content"].startswith("Count the words.\n\nGive a number from 1 (worst) to 100 (best).")
    assert json.loads(asked["messages"][1]["content"])["conversation"] in rows


def test_an_answer_without_a_score_is_counted_and_asked_for_again():
    replies = ["I like it \ud83d.", "Score: 11", "Score: 7"]
    with JudgeServer(lambda body, before: says(replies[before])) as server:
        scorer = judge(server)
        assert scorer.score(conversations(2)) == [7.0, 7.0]
    assert scorer.nonsense == 4
    assert server.keys[0] is None
    last = max((one["messages"] for one in server.requests), key=len)
    assert [message["content"] for message in last[2::2]] == ["I like it ?.", "Score: 11"]


def test_what_no_try_gives_a_score_is_told_and_the_other_scores_are_kept():
    rows = conversations(3)
    rows[1][-1]["content"] = "Say something else."

    def reply(body, _):
        return says("Something else." if "Say something else." in body["messages"][1]["content"] else "Score: 4")

    with JudgeServer(reply) as server:
        scorer = judge(server, tries=2)
        rule = r"conversation 1 'Something else\.' is what a-judge answered instead of a score from 1 to 10"
        with pytest.raises(UnjudgedError, match=rule) as told:
            scorer.score(rows)
    assert told.value.scores == [4.0, None, 4.0]
    assert (len(told.value.faults), scorer.nonsense) == (1, 2)


def test_a_server_in_trouble_is_asked_again_after_as_long_as_it_says(waits):
    replies = [
        Reply(429, "slow down", {"Retry-After": "3"}),
        Reply(503, "loading"),
        Reply(None),
        says("Score: 2"),
    ]
    with JudgeServer(lambda body, before: replies[before]) as server:
        assert judge(server).score(conversations(1)) == [2.0]
    assert len(server.requests) == 4
    # 3 s as the server says; then our own 2 s and 4 s, give or take a quarter.
    assert waits[0] == 3.0
    assert 1.5 <= waits[1] <= 2.5 and 3 <= waits[2] <= 5


def test_a_server_that_stays_in_trouble_is_given_up(waits):
    rule = "answers 500: out of memory, 3 times"
    with JudgeServer(lambda body, before: Reply(500, "out of memory")) as server:
        with pytest.raises(SetupError, match=rule):
            judge(server, attempts=3, concurrency=1).score(conversations(100))
        # Questions may go out until the first failure is noticed, and most are never sent.
        assert len(server.requests) < 150
    with pytest.raises(SetupError, match=r"cannot be reached.*, 2 times") as told:
        judge(server, attempts=2).score(conversations(1))
    assert "ConnectError" in str(told.value)
    slow = Reply(429, "later", {"Retry-After": "86400"})
    with (
        JudgeServer(lambda body, before: slow) as server,
        pytest.raises(SetupError, match="asks to wait 86400 seconds"),
    ):
        judge(server).score(conversations(1))


def test_scores_that_came_before_a_server_died_are_kept():
    rows = conversations(3)

    def reply(body, before):
        return says("Score: 6") if words_in_answer(body) == len(rows[0][-1]["content"].split()) else Reply(500)

    with JudgeServer(reply) as server, pytest.raises(JudgeStopped, match="answers 500") as told:
        judge(server, concurrency=1, attempts=2).score(rows)
    assert told.value.scores == [6.0, None, None]


def test_a_refusal_is_told_at_once_and_without_the_key(monkeypatch):
    monkeypatch.setenv("OWN_KEY", KEY)
    rule = r"answers 401: Incorrect API key provided: \*\*\*; set OWN_KEY"
    echo = Reply(401, f"Incorrect API key provided: {KEY}")
    with JudgeServer(lambda body, before: echo) as server, pytest.raises(SetupError, match=rule) as told:
        judge(server, key_variable="OWN_KEY").score(conversations(1))
    assert len(server.requests) == 1
    assert KEY not in str(told.value)
    assert KEY not in repr(told.value.__cause__)
    rule = r"404: no such model; check the address, which ends in /v1"
    missing = Reply(404, "no such model")
    with JudgeServer(lambda body, before: missing) as server, pytest.raises(SetupError, match=rule):
        judge(server).score(conversations(1))


def test_a_key_is_used_without_white_space_and_what_is_none_is_not_shown(monkeypatch):
    with JudgeServer(lambda body, before: says("Score: 2")) as server:
        monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n")
        assert judge(server).score(conversations(1)) == [2.0]
        assert server.keys == [f"Bearer {KEY}"]
        monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\u20ac")
        with pytest.raises(SetupError, match="OPENAI_API_KEY holds characters that a key cannot have") as told:
            judge(server).score(conversations(1))
    assert KEY not in str(told.value)


@pytest.mark.parametrize("body", ["<html>Welcome</html>", "[]", '{"choices": []}', '{"error": "no"}', "\x00"])
def test_a_server_that_speaks_something_else_is_told_at_once(body):
    rule = "does not speak the protocol of chat completions"
    with JudgeServer(lambda asked, before: Reply(200, body)) as server, pytest.raises(SetupError, match=rule):
        judge(server).score(conversations(1))
    assert len(server.requests) == 1


def test_a_slow_server_is_not_waited_for_beyond_the_timeout():
    release = threading.Event()

    def reply(body, before):
        release.wait(20)
        return says("Score: 3")

    with JudgeServer(reply) as server:
        try:
            with pytest.raises(SetupError, match="ReadTimeout"):
                judge(server, timeout=0.2, attempts=1).score(conversations(1))
        finally:
            release.set()


def test_so_many_questions_are_open_at_once_and_never_more():
    together = threading.Barrier(3)

    def reply(body, before):
        together.wait(20)
        return says("Score: 5")

    with JudgeServer(reply) as server:
        assert judge(server, concurrency=3).score(conversations(9)) == [5.0] * 9
    assert server.most_at_once == 3


def test_settings_that_make_no_judge_are_told():
    address = "http://127.0.0.1:9/v1"
    with pytest.raises(SetupError, match="model is needed for a judge"):
        load_scorer(address)
    for secret in ("http://me:hunter2@host/v1", "http://host/v1?key=hunter2", "https://"):
        with pytest.raises(SetupError, match="without a password or a query") as told:
            load_scorer(secret, model="m")
        assert "hunter2" not in str(told.value)
    with pytest.raises(SetupError, match="is no address"):
        load_scorer("http://host:port/v1", model="m")
    with pytest.raises(SetupError, match="rubrik is no option of a judge; did you mean rubric"):
        load_scorer(address, model="m", rubrik="x")
    with pytest.raises(SetupError, match=r"tries 0 must be above 0.*\n.*lowest 5 must be below highest 5"):
        load_scorer(address, model="m", tries=0, lowest=5, highest=5)


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("Score: 7", 7.0),
        ("Clear and short.\n\n  score: 6.5  \n", 6.5),
        ("8", 8.0),
        ("Score: 7\nScore: 7", 7.0),
        ("Score: 3\nOn reflection:\nScore: 7", None),
        ("Score: 7/10", None),
        ("Score: 7 of 10", None),
        ("about 7", None),
        ("A text.\n7", None),
        ("Score: 7\nThat is all.", None),
        ("Score: 10.5", None),
        ("Score: 0", None),
        ("Score: -7", None),
        ("Score: nan", None),
        ("Score: 1" + "0" * 400, None),
        ("", None),
    ],
)
def test_a_score_is_read_from_the_last_line_or_not_at_all(answer, score):
    assert read_score(answer, (1, 10)) == score


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        ("soon", None),
        ("Wed, 01 Jan 2025 00:00:30 GMT", 30.0),
        ("Wed, 01 Jan 2025 00:00:30 -0000", 30.0),
        ("Tue, 31 Dec 2024 00:00:00 GMT", 0.0),
    ],
)
def test_retry_after_is_a_number_of_seconds_or_a_date(value, seconds):
    assert retry_after(value, now=datetime(2025, 1, 1, tzinfo=UTC)) == seconds
