"""What generates answers: one interface, whether the model runs in this process or behind a server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from alignment.generation.answers import Answer


@dataclass(frozen=True, kw_only=True)
class Request:
    """One answer to be drawn."""

    id: str
    """Names the request within one call, such as `<prompt id>/<seed>`."""
    messages: Sequence[Mapping[str, str]]
    """The conversation so far; the last message is not the assistant's."""
    seed: int
    """Seed of this draw: the same request with the same seed is answered alike by the same engine."""


class Engine(Protocol):
    """A model that answers. The sampling settings are its own; it is made by `load_engine`."""

    name: str
    """`transformers`, `vllm` or `server`."""

    def answers(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Answer]]:
        """Each request with its answer, as soon as it is there: the order may differ from that of the requests.

        Requests are taken as they are needed, so an endless or a very long iterable costs no memory.

        Raises:
            UserError: the server fails for good, or the model cannot answer; answers yielded before are good.
        """
        ...

    def stream(self, request: Request, write: Callable[[str], object]) -> Answer:
        """One answer, whose text is given to `write` in pieces as it is drawn. An interrupt (Ctrl-C) ends the draw.

        Raises:
            UserError: as `answers`.
        """
        ...

    def close(self) -> None:
        """Gives back the device or the connections."""
        ...
