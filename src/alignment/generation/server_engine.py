"""Answers of a model behind an OpenAI-compatible endpoint: vLLM, SGLang, TGI, `transformers serve`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from typing import Any

import httpx

from alignment.errors import Fault, SetupError
from alignment.generation.answers import Answer
from alignment.generation.concurrently import as_done
from alignment.generation.engine import Request
from alignment.recipe.generation_settings import GenerationSettings
from alignment.scoring.endpoint import ChatClient, Completion, Endpoint, check_address

KEY = "generation.base_url"
IN_FLIGHT = 32
"""Requests in flight where the settings state no number."""

ENDED = frozenset({"stop", "eos_token", "stop_sequence"})
"""Finish reasons of an answer that the model ended; the last two are TGI's own."""
CUT = frozenset({"length", "content_filter"})
"""Finish reasons of an answer that something else ended."""


def load_server(settings: GenerationSettings, model: str) -> ServerEngine:
    """The engine of the server at `base_url`, once it answers there.

    Raises:
        SetupError: there is no such server, or it does not take the key.
    """
    assert settings.base_url is not None
    check_address(settings.base_url, key=KEY)
    endpoint = Endpoint(
        address=settings.base_url,
        model=settings.server_model or model,
        key_variable=settings.key_variable,
        timeout=settings.timeout,
        attempts=settings.attempts,
        key=KEY,
    )
    engine = ServerEngine(settings, endpoint)
    engine.client.reach()
    return engine


class ServerEngine:
    """An `Engine` that asks many questions at a time.

    The server renders the conversation by its own chat template and stops at its own stop tokens. How far a seed makes
    an answer repeatable depends on the server: vLLM and SGLang keep a random stream for each request.
    """

    name = "server"

    def __init__(self, settings: GenerationSettings, endpoint: Endpoint) -> None:
        self.client = ChatClient(endpoint, connections=settings.max_in_flight or IN_FLIGHT)
        self._body = request_body(settings)
        one_by_one = _is_transformers_serve(self.client)
        self._in_flight = settings.max_in_flight or (1 if one_by_one else IN_FLIGHT)
        if one_by_one and settings.temperature > 0:
            # It takes a temperature, and samples only where this says so.
            self._body["generation_config"] = json.dumps({"do_sample": True, "top_k": settings.top_k or 0})

    def answers(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Answer]]:
        """See `Engine.answers`. When one request fails for good, the answers of those that are open still come.

        Raises:
            SetupError: the server refuses, replies in another format, or keeps failing.
        """
        failures: list[BaseException] = []
        wanted = takewhile(lambda _: not failures, requests)
        for request, outcome in as_done(self._ask, wanted, at_once=self._in_flight):
            if isinstance(outcome, BaseException):
                failures.append(outcome)
                self.client.stop()
            else:
                yield request, outcome
        if failures:
            raise failures[0]

    def stream(self, request: Request, write: Callable[[str], object]) -> Answer:
        """See `Engine.stream`."""
        text, reason, tokens = "", None, None
        for piece in self.client.pieces(request.messages, **self._body, seed=request.seed):
            write(piece.text)
            text += piece.text
            reason = piece.finish_reason or reason
            tokens = piece.tokens or tokens
        return self._answer(Completion(text=text, finish_reason=reason, tokens=tokens))

    def close(self) -> None:
        """See `Engine.close`."""
        self.client.stop()
        self.client.close()

    def _ask(self, request: Request) -> Answer:
        try:
            return self._answer(self.client.complete(request.messages, **self._body, seed=request.seed))
        except SetupError as error:
            raise SetupError(error.faults, where=f"request {request.id}") from error

    def _answer(self, completion: Completion) -> Answer:
        reason = completion.finish_reason
        if reason not in ENDED | CUT:
            said = "nothing of the" if reason is None else f"{reason!r} as"
            rule = f"says {said} finish_reason of an answer, so there is no telling whether it is complete"
            remedy = f"use a server that says {', '.join(sorted(ENDED | CUT))}"
            raise SetupError(Fault(key=KEY, value=self.client.endpoint.address, rule=rule, remedy=remedy))
        return Answer(text=completion.text.strip(), finished=reason in ENDED, tokens=completion.tokens)


def request_body(settings: GenerationSettings) -> dict[str, Any]:
    """What each request states beside model, messages and seed. Fields of some servers only are sent when asked for."""
    body: dict[str, Any] = {
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "max_tokens": settings.max_new_tokens,
    }
    if settings.top_k is not None:
        body["top_k"] = settings.top_k or -1
    if settings.stop:
        body["stop"] = list(settings.stop)
    if settings.stop_token_ids:
        body["stop_token_ids"] = list(settings.stop_token_ids)
    return body


def _is_transformers_serve(client: ChatClient) -> bool:
    """Whether the server's own description has the route by which `transformers serve` loads models."""
    try:
        described = client.page(str(httpx.URL(client.endpoint.address).join("/openapi.json")))
        return described is not None and "/load_model" in described.json()["paths"]
    except (httpx.RequestError, ValueError, KeyError, TypeError):
        return False
