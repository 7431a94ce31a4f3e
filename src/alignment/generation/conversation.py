"""A conversation with a model: what was said, and the commands that change it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from alignment.errors import UserError, did_you_mean
from alignment.generation.engine import Request

if TYPE_CHECKING:
    from alignment.generation.answers import Answer
    from alignment.generation.engine import Engine

COMMANDS = {
    "/reset": "forget what was said; the system message stays",
    "/system TEXT": "the system message from here on; none without TEXT",
    "/help": "these commands",
    "/exit": "leave",
}
_COMMAND = re.compile(r"(/[a-z]+)(?:\s+(.*))?")
_NAMES = [command.split()[0] for command in COMMANDS]

Write = Callable[[str], object]


class Conversation:
    """Turns with one engine.

    Args:
        seed: of the first answer; each answer has the next one.
        system: the system message; `None` leaves that to the chat template.
        write: gets the pieces of answers.
        note: gets a line of ours.
        patient: go on after an answer that the engine refuses, which is told by `note`.
    """

    def __init__(
        self, engine: Engine, *, seed: int, system: str | None, write: Write, note: Write, patient: bool
    ) -> None:
        self.system = system
        self.said: list[dict[str, str]] = []
        """The turns so far, without the system message."""
        self._engine = engine
        self._seed = seed
        self._write = write
        self._note = note
        self._patient = patient

    def run(self, lines: Iterable[str]) -> None:
        """Answers each line, or does what it commands, until `/exit` or the last one.

        Raises:
            UserError: an answer is refused, unless `patient`.
        """
        for line in lines:
            command = _COMMAND.fullmatch(line.strip())
            if command is None:
                if line.strip():
                    self.ask(line)
            elif command[1] == "/exit":
                return
            else:
                self._obey(command[1], command[2] or "")

    def ask(self, text: str) -> None:
        """Writes the answer to `text`. An interrupt ends the answer, of which stays what was written."""
        self.said.append({"role": "user", "content": text})
        pieces: list[str] = []

        def write(piece: str) -> None:
            pieces.append(piece)
            self._write(piece)

        try:
            answer = self._engine.stream(self._request(), write)
        except KeyboardInterrupt:
            self._keep("".join(pieces))
            self._note("\n(stopped)")
        except UserError as error:
            self.said.pop()
            if not self._patient:
                raise
            self._note(str(error))
        else:
            self._keep(answer.text)
            self._write("\n")
            self._tell(answer)

    def _request(self) -> Request:
        opening = [] if self.system is None else [{"role": "system", "content": self.system}]
        number = sum(turn["role"] == "user" for turn in self.said)
        return Request(id=f"turn {number}", messages=[*opening, *self.said], seed=self._seed + number - 1)

    def _keep(self, text: str) -> None:
        """A turn of the model; a question without any answer is forgotten, as templates want turns to alternate."""
        if text.strip():
            self.said.append({"role": "assistant", "content": text.strip()})
        else:
            self.said.pop()

    def _tell(self, answer: Answer) -> None:
        if not answer.finished:
            self._note(f"(cut at the limit of {answer.tokens} tokens; --max_new_tokens allows more)")
        elif not answer.text:
            self._note("(an empty answer)")

    def _obey(self, command: str, text: str) -> None:
        if command == "/reset":
            self.said.clear()
            self._note("(nothing was said)")
        elif command == "/system":
            self.system = text or None
            self._note("(no system message)" if self.system is None else "(the system message is changed)")
        elif command == "/help":
            self._note("\n".join(f"{name:13} {does}" for name, does in COMMANDS.items()))
        else:
            self._note(f"{command} is no command; {did_you_mean(command, _NAMES) or 'there are ' + ', '.join(_NAMES)}")
