"""What went wrong between us and the Hub, told once and with the remedy; and what may pass is tried again."""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from huggingface_hub import constants, get_token
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from alignment.errors import Fault, SetupError, UserError

T = TypeVar("T")

# The base class of everything the HTTP library raises, whichever library this huggingface_hub is built on.
TransportError: type[Exception] = next(base for base in HfHubHTTPError.__mro__ if base.__name__ == "HTTPError")

_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
LOG_IN = "log in with `hf auth login`, or set HF_TOKEN (tokens: https://huggingface.co/settings/tokens)"


@contextmanager
def explained(repository: str, *, key: str, revision: str | None = None, kind: str = "model") -> Iterator[None]:
    """Turn what the Hub, the network or the disk refuse into a `SetupError`; other exceptions pass.

    Args:
        repository: id on the Hub.
        key: recipe key or variable that named it, such as `model_name_or_path`.
        revision: the branch, tag or commit asked for.
        kind: `model` or `dataset`.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        fault = fault_of(error, repository, key=key, revision=revision, kind=kind)
        if fault is None:
            raise
        raise SetupError(fault) from error


def fault_of(
    error: Exception, repository: str, *, key: str, revision: str | None = None, kind: str = "model"
) -> Fault | None:
    """The fault behind an exception, or `None` where the mistake is in this program."""
    for cause in causes(error):
        told = _rule_and_remedy(cause, repository, revision=revision, kind=kind)
        if told is not None:
            return Fault(key=key, value=repository, rule=told[0], remedy=told[1])
    return None


def causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and those it was raised from; the Hub's own answer comes before what was made of it."""
    chain: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in chain:
        chain.append(current)
        current = current.__cause__ or current.__context__
    specific = [cause for cause in chain if isinstance(cause, HfHubHTTPError) or _errno(cause) == errno.ENOSPC]
    return iter([*specific, *(cause for cause in chain if cause not in specific)])


def may_pass(error: Exception) -> bool:
    """Whether trying again can help: a dropped connection, a server in trouble, a rate limit."""
    if isinstance(error, HfHubHTTPError):
        return error.response is not None and error.response.status_code in _PASSING
    return isinstance(error, (TransportError, ConnectionError, TimeoutError))


def retrying(action: Callable[[], T], *, what: str, attempts: int = 4, first_wait: float = 1.0) -> T:
    """`action()`, tried again after 1, 2 and 4 seconds while its failure may pass."""
    for attempt in range(1, attempts + 1):
        try:
            return action()
        except Exception as error:
            if attempt == attempts or not may_pass(error):
                raise
            wait = first_wait * 2 ** (attempt - 1)
            print(f"{what}: {brief(error)}; trying again in {wait:g} s", file=sys.stderr, flush=True)
            time.sleep(wait)
    raise AssertionError("attempts must be at least 1")


def brief(error: BaseException) -> str:
    """One line about an exception."""
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        return f"the Hub answered {error.response.status_code}"
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}{f': {lines[0]}' if lines else ''}"


def _rule_and_remedy(
    error: BaseException, repository: str, *, revision: str | None, kind: str
) -> tuple[str, str] | None:
    page = f"{constants.ENDPOINT}/{'datasets/' if kind == 'dataset' else ''}{repository}"
    if isinstance(error, GatedRepoError):
        then = "use its token" if get_token() else LOG_IN
        return (
            "is gated: its authors want their terms accepted",
            f"accept them at {page} with your account, then {then}",
        )
    if isinstance(error, RepositoryNotFoundError):
        if get_token() is None:
            return f"is not a {kind} on the Hub, or is private", f"check the spelling; if it is private, {LOG_IN}"
        return (
            f"is not a {kind} on the Hub, or your account may not see it",
            f"check the spelling at {page}, and with `hf auth whoami` whose token this is",
        )
    if isinstance(error, RevisionNotFoundError):
        return f"has no revision {revision!r}", f"choose a branch, tag or commit listed at {page}/tree/main"
    if isinstance(error, RemoteEntryNotFoundError):
        return f"lacks a file that is needed ({brief(error)})", f"look at {page}/tree/{revision or 'main'}"
    if isinstance(error, HfHubHTTPError):
        return _http_fault(error, repository)
    if isinstance(error, HFValidationError):
        return "is no repository id", "write it as name or owner/name; a local folder must exist"
    unreachable = isinstance(error, (TransportError, ConnectionError, TimeoutError))
    if isinstance(error, OfflineModeIsEnabled) or (unreachable and constants.HF_HUB_OFFLINE):
        return "is needed from the Hub, but HF_HUB_OFFLINE is set", "unset it, or run `make data` while online first"
    if isinstance(error, LocalEntryNotFoundError):
        return "is not in the cache and the Hub cannot be reached", "check the network, or run `make data` while online"
    if _errno(error) == errno.ENOSPC:
        return "does not fit on the disk", f"make room, or set HF_HOME to a larger disk (now {constants.HF_HOME})"
    if unreachable:
        return (
            f"cannot be reached at {constants.ENDPOINT} ({brief(error)})",
            "check the network and the proxy settings (HTTPS_PROXY); the same command goes on where it stopped",
        )
    return None


def _http_fault(error: HfHubHTTPError, repository: str) -> tuple[str, str]:
    response: Any = error.response
    status = response.status_code if response is not None else 0
    if status == 401:
        return "cannot be asked for: the Hub does not know your token", f"make a new one and {LOG_IN}"
    if status == 403:
        owner = repository.split("/")[0]
        return (
            "may not be written or read with your token",
            f"use a token with write access to {owner}, or a name of your own",
        )
    if status in _PASSING:
        return f"could not be served: the Hub answered {status} again and again", "try the same command later"
    told = response.headers.get("X-Error-Message") if response is not None else None
    return f"was refused by the Hub ({status}{f': {told}' if told else ''})", "see the message of the Hub"


def _errno(error: BaseException) -> int | None:
    return error.errno if isinstance(error, OSError) else None
