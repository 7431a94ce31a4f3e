"""Chat completions of an OpenAI-compatible endpoint, asked with patience and without telling the key to anybody."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import httpx

from alignment.errors import Fault, SetupError, sentence_of
from alignment.scoring.headers import key_in, retry_after

_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""Statuses of a server that may answer the next time."""
_LONGEST_WAIT = 120.0
"""Seconds; a server that asks for more is not waited for."""
_MOST_SHOWN = 5
"""Names of models in a message."""
_LOOKS = 5
"""How often a page is asked for that is not needed."""
_CONNECTING = 20.0
"""Seconds until a server that does not take a connection counts as one that cannot be reached."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where to ask, and how retrying."""

    address: str
    """Up to and with `/v1`."""
    model: str
    """As the server calls it."""
    key_variable: str = "OPENAI_API_KEY"
    """The environment variable that holds the key; unset for a server that wants none."""
    timeout: float = 120.0
    """Seconds for one answer."""
    attempts: int = 6
    """How often one question is sent while the failure may pass."""
    first_wait: float = 1.0
    """Seconds before the second attempt; doubled each time, unless the server says how long to wait."""
    key: str = "scorer"
    """What messages name: the recipe key that the address stands at."""

    @property
    def url(self) -> str:
        """Where questions are sent."""
        return f"{self.address.rstrip('/')}/chat/completions"

    @property
    def models(self) -> str:
        """Where the server lists its models."""
        return f"{self.address.rstrip('/')}/models"


@dataclass(frozen=True, kw_only=True)
class Completion:
    """What a server answers to one conversation."""

    text: str
    """Empty where the model says nothing."""
    finish_reason: str | None
    """Why the answer ends there, in the server's word."""
    tokens: int | None
    """Length of the answer; `None` where the server does not say."""
    choice: Mapping[str, Any] = field(default_factory=dict)
    """All that the server says of the answer, such as `logprobs`."""
    usage: Mapping[str, Any] = field(default_factory=dict)
    """Tokens in and out, as the server counts them."""


class ChatClient:
    """Asks an endpoint; threads may share it."""

    def __init__(self, endpoint: Endpoint, *, connections: int) -> None:
        self.endpoint = endpoint
        self._stopped = Event()
        self._key = key_in(endpoint.key_variable)
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=httpx.Timeout(endpoint.timeout, connect=min(endpoint.timeout, _CONNECTING)),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
        )

    def __enter__(self) -> ChatClient:
        return self

    def __exit__(self, *exc: object) -> None:
        self._client.close()

    def close(self) -> None:
        """Gives back the connections."""
        self._client.close()

    def stop(self) -> None:
        """Send nothing again: questions that are open end with the answer or failure that they have next."""
        self._stopped.set()

    def reach(self) -> None:
        """Raise `SetupError` if nothing is listening there, or it does not take the key. Asked at the start."""
        try:
            response = self.page(self.endpoint.models)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as error:
            raise self._fault(self._unreachable(error), "start the server, or correct the address") from error
        if response is not None and response.status_code in (401, 403):
            raise self._refusal(response.status_code, self._answered(response))

    def page(self, url: str) -> httpx.Response | None:
        """What the server has at `url`, `None` where it has trouble with it several times.

        Raises:
            httpx.RequestError: nothing is listening there.
        """
        for _ in range(_LOOKS):
            try:
                response = self._client.get(url)
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol):
                raise
            except httpx.RequestError:
                continue
            if response.status_code not in _PASSING:
                return response
        return None

    def ask(self, messages: Sequence[Mapping[str, str]], **settings: Any) -> str:
        """What the model answers; an empty text where it says nothing. As `complete`."""
        return self.complete(messages, **settings).text

    def complete(self, messages: Sequence[Mapping[str, str]], **settings: Any) -> Completion:
        """The model's answer.

        Args:
            settings: of the request, such as `temperature`.

        Raises:
            SetupError: the server refuses, does not speak this protocol, or fails in every attempt.
        """
        body = {"model": self.endpoint.model, "messages": list(messages), **settings}
        for attempt in range(1, self.endpoint.attempts + 1):
            try:
                response = self._client.post(self.endpoint.url, json=body)
            except httpx.RequestError as error:
                failure, wait = self._unreachable(error), None
            else:
                if response.status_code == httpx.codes.OK:
                    return self._read(response.text)
                failure = self._answered(response)
                if response.status_code not in _PASSING:
                    raise self._refusal(response.status_code, failure)
                wait = retry_after(response.headers.get("Retry-After"))
            if attempt == self.endpoint.attempts or not self._waited(attempt, wait, failure):
                break
        raise self._fault(f"{failure}, {attempt} times", "see whether it runs, and ask again later")

    def pieces(self, messages: Sequence[Mapping[str, str]], **settings: Any) -> Iterator[Completion]:
        """The model's answer as it is made (server-sent events): each piece with what is known then. Sent once.

        Raises:
            SetupError: as `complete`.
        """
        body = {"model": self.endpoint.model, "messages": list(messages), **settings, "stream": True}
        try:
            with self._client.stream("POST", self.endpoint.url, json=body) as response:
                if response.status_code != httpx.codes.OK:
                    response.read()
                    raise self._refusal(response.status_code, self._answered(response))
                for line in response.iter_lines():
                    kind, _, data = line.partition(":")
                    if kind == "data" and data.strip() != "[DONE]":
                        yield self._read(data, piece=True)
        except httpx.RequestError as error:
            raise self._fault(self._unreachable(error), "see whether it runs, and ask again") from error

    def _waited(self, attempt: int, asked: float | None, failure: str) -> bool:
        """Waits before the next attempt; false when there is to be none."""
        if asked is not None and asked > _LONGEST_WAIT:
            raise self._fault(f"{failure}; it asks to wait {asked:.0f} seconds", "ask again then")
        # Requests that failed together must not come back together.
        own = min(self.endpoint.first_wait * 2 ** (attempt - 1), _LONGEST_WAIT) * random.uniform(0.75, 1.25)
        return not self._stopped.wait(own if asked is None else asked)

    def _read(self, text: str, *, piece: bool = False) -> Completion:
        """What a chat completion says, or a piece of one, which may have no choice and no content."""
        try:
            body = json.loads(text)
            choice = body["choices"][0] if body["choices"] or not piece else {"delta": {}}
            content = choice["delta"].get("content") if piece else choice["message"]["content"]
            reason, usage = choice.get("finish_reason"), body.get("usage")
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            rule = f"does not speak the protocol of chat completions: {self._told(text)}"
            raise self._fault(rule, "give the address of an OpenAI-compatible server, up to /v1") from error
        tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
        return Completion(
            # JSON can hold half a surrogate pair, which could not be sent back.
            text=content.encode("utf-8", "replace").decode() if isinstance(content, str) else "",
            finish_reason=reason if isinstance(reason, str) else None,
            tokens=tokens if isinstance(tokens, int) else None,
            choice=choice,
            usage=usage if isinstance(usage, dict) else {},
        )

    def _unreachable(self, error: httpx.RequestError) -> str:
        return f"cannot be reached ({type(error).__name__}: {self._told(str(error))})"

    def _answered(self, response: httpx.Response) -> str:
        return f"answers {response.status_code}: {self._told(response.text)}"

    def _served(self) -> str:
        """What the server says that it has; nothing where it does not say."""
        try:
            response = self.page(self.endpoint.models)
            models = [] if response is None else response.json()["data"]
            return f"; it serves {', '.join(str(model['id']) for model in models[:_MOST_SHOWN])}" if models else ""
        except (httpx.RequestError, ValueError, KeyError, TypeError):
            return ""

    def _refusal(self, status: int, failure: str) -> SetupError:
        variable = self.endpoint.key_variable
        models = self._served() if status == 404 else ""
        remedies = {
            401: f"set {variable} to a key of this server" + ("" if self._key else "; it is not set"),
            403: f"use a key that may use {self.endpoint.model} ({variable})",
            404: f"check the address, which ends in /v1, and the name of the model, {self.endpoint.model}{models}",
        }
        return self._fault(failure, remedies.get(status, "see what the server says"))

    def _fault(self, rule: str, remedy: str) -> SetupError:
        return SetupError(Fault(key=self.endpoint.key, value=self.endpoint.address, rule=rule, remedy=remedy))

    def _told(self, text: str) -> str:
        """What the server said, on one line; some servers repeat the key."""
        return sentence_of(Exception(text.replace(self._key, "***") if self._key else text), limit=200)


def check_address(address: str, *, key: str = "scorer") -> None:
    """Raise `SetupError` unless it is an address that a path can follow, and that holds no secret."""
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL as error:
        rule = f"is no address: {sentence_of(error)}"
        raise SetupError(Fault(key=key, value=address, rule=rule, remedy="give http://host:port/v1")) from error
    if not url.host or url.userinfo or url.query or url.fragment:
        rule = "must be an address up to and with /v1, without a password or a query, which messages would show"
        remedy = "put the key into the environment variable that key_variable names"
        raise SetupError(Fault(key=key, rule=rule, remedy=remedy))
