"""Chat completions of an OpenAI-compatible endpoint, asked with patience and without telling the key to anybody."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from alignment.errors import Fault, SetupError, sentence_of

_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""Statuses of a server that may answer the next time."""
_LONGEST_WAIT = 120.0
"""Seconds; a server that asks for more is not waited for."""


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

    @property
    def url(self) -> str:
        """Where questions are sent."""
        return f"{self.address.rstrip('/')}/chat/completions"


class ChatClient:
    """Asks an endpoint; threads may share it."""

    def __init__(self, endpoint: Endpoint, *, connections: int) -> None:
        self.endpoint = endpoint
        self._stopped = False
        self._key = _key(endpoint.key_variable)
        self._client = httpx.Client(
            headers={"Authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=httpx.Timeout(endpoint.timeout),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
        )

    def __enter__(self) -> ChatClient:
        return self

    def __exit__(self, *exc: object) -> None:
        self._client.close()

    def stop(self) -> None:
        """Send nothing again: questions that are open end with the answer or failure that they have next."""
        self._stopped = True

    def ask(self, messages: Sequence[Mapping[str, str]], **settings: Any) -> str:
        """What the model answers; an empty text where it says nothing.

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
                failure, wait = f"cannot be reached ({type(error).__name__}: {self._told(str(error))})", None
            else:
                if response.status_code == httpx.codes.OK:
                    return self._content(response)
                failure = f"answers {response.status_code}: {self._told(response.text)}"
                if response.status_code not in _PASSING:
                    raise self._refusal(response.status_code, failure)
                wait = retry_after(response.headers.get("Retry-After"))
            if attempt == self.endpoint.attempts or self._stopped:
                break
            self._wait(attempt, wait, failure)
        raise self._fault(f"{failure}, {attempt} times", "see whether it runs, and ask again later")

    def _wait(self, attempt: int, asked: float | None, failure: str) -> None:
        if asked is not None and asked > _LONGEST_WAIT:
            raise self._fault(f"{failure}; it asks to wait {asked:.0f} seconds", "ask again then")
        # Requests that failed together must not come back together.
        own = min(self.endpoint.first_wait * 2 ** (attempt - 1), _LONGEST_WAIT) * random.uniform(0.75, 1.25)
        time.sleep(own if asked is None else asked)

    def _content(self, response: httpx.Response) -> str:
        """The text of a chat completion."""
        try:
            content = response.json()["choices"][0]["message"]["content"]
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, IndexError, TypeError) as error:
            rule = f"does not speak the protocol of chat completions: {self._told(response.text)}"
            raise self._fault(rule, "give the address of an OpenAI-compatible server, up to /v1") from error
        # JSON can hold half a surrogate pair, which could not be sent back.
        return content.encode("utf-8", "replace").decode() if isinstance(content, str) else ""

    def _refusal(self, status: int, failure: str) -> SetupError:
        variable = self.endpoint.key_variable
        remedies = {
            401: f"set {variable} to a key of this server" + ("" if self._key else "; it is not set"),
            403: f"use a key that may use {self.endpoint.model} ({variable})",
            404: f"check the address, which ends in /v1, and the name of the model, {self.endpoint.model}",
        }
        return self._fault(failure, remedies.get(status, "see what the server says"))

    def _fault(self, rule: str, remedy: str) -> SetupError:
        return SetupError(Fault(key="scorer", value=self.endpoint.address, rule=rule, remedy=remedy))

    def _told(self, text: str) -> str:
        """What the server said, on one line; some servers repeat the key."""
        return sentence_of(Exception(text.replace(self._key, "***") if self._key else text), limit=200)


def check_address(address: str) -> None:
    """Raise `SetupError` unless it is an address that a path can follow, and that holds no secret."""
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL as error:
        rule = f"is no address: {sentence_of(error)}"
        raise SetupError(Fault(key="scorer", value=address, rule=rule, remedy="give http://host:port/v1")) from error
    if not url.host or url.userinfo or url.query or url.fragment:
        rule = "must be an address up to and with /v1, without a password or a query, which messages would show"
        remedy = "put the key into the environment variable that key_variable names"
        raise SetupError(Fault(key="scorer", rule=rule, remedy=remedy))


def _key(variable: str) -> str:
    """The key in an environment variable, empty where there is none. What is no key is not shown."""
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise SetupError(Fault(key=variable, rule="holds characters that a key cannot have", remedy="copy it again"))
    return key


def retry_after(value: str | None, *, now: datetime | None = None) -> float | None:
    """Seconds that a `Retry-After` header asks for (RFC 9110, 10.2.3: a number or a date), `None` without one."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - (now or datetime.now(UTC))).total_seconds())
