"""Questions to a judge that costs money: each answer is kept at once and never paid twice, none is guessed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any

from alignment.errors import Fault, SetupError
from alignment.evaluation.store import ItemStore
from alignment.generation.concurrently import as_done
from alignment.recipe.evaluation_settings import JudgeSettings
from alignment.scoring.endpoint import ChatClient, Completion, Endpoint, check_address
from alignment.terminal import counted

CHARACTERS_PER_TOKEN = 4
"""Of English text, about: for the estimate of costs."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """One thing that is judged."""

    id: str
    messages: Sequence[Mapping[str, str]]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What came of the questions."""

    verdicts: Mapping[str, Any]
    """By the question's id; `None` where no answer held one."""
    answers: Mapping[str, Mapping[str, Any]]
    """What was kept of the last answer to each question: `text`, `choice`."""
    nonsense: int
    """Answers that held no verdict, over all tries."""
    usage: Mapping[str, int]
    """Tokens in and out of all answers, as far as the server counts them."""

    @property
    def unjudged(self) -> int:
        """Questions without a verdict."""
        return sum(verdict is None for verdict in self.verdicts.values())


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Who is asked, and how."""

    settings: JudgeSettings
    model: str
    body: Mapping[str, Any] = field(default_factory=dict)
    """Settings of each request, such as `temperature`."""

    @property
    def about(self) -> dict[str, Any]:
        """What decides an answer."""
        return {"model": self.model, **self.body}

    def reach(self) -> None:
        """Raise `SetupError` if no server listens there, before hours are spent on drawing answers."""
        with ChatClient(self._endpoint(), connections=1) as client:
            client.reach()

    def ask(self, questions: Sequence[Question], store: ItemStore, read: Callable[[Mapping[str, Any]], Any]) -> Judged:
        """Every question, until an answer holds a verdict or the tries are used up.

        Args:
            store: where answers are kept, `<question id>#<try>`.
            read: the verdict in an answer (`text`, `choice`), `None` where there is none.

        Raises:
            SetupError: no address, or a server that refuses or keeps failing. What was answered is kept.
        """
        open_ones = [one for one in questions if self._wants(one, store, read)]
        if open_ones:
            self._estimate(open_ones)
            self._ask_all(open_ones, store, read)
        return self._summary(questions, store, read)

    def _wants(self, question: Question, store: ItemStore, read: Callable[[Mapping[str, Any]], Any]) -> bool:
        kept = list(self._kept(question, store))
        return len(kept) < self.settings.tries and not any(read(answer) is not None for answer in kept)

    def _kept(self, question: Question, store: ItemStore) -> Iterator[Mapping[str, Any]]:
        for number in range(1, self.settings.tries + 1):
            if (answer := store.found.get(f"{question.id}#{number}")) is None:
                return
            yield answer

    def _ask_all(
        self, questions: Sequence[Question], store: ItemStore, read: Callable[[Mapping[str, Any]], Any]
    ) -> None:
        failures: list[BaseException] = []
        with ChatClient(self._endpoint(), connections=self.settings.concurrency) as client:

            def ask(question: Question) -> None:
                for number in range(1 + len(list(self._kept(question, store))), self.settings.tries + 1):
                    answer = _record(client.complete(question.messages, **self.body))
                    store.add(f"{question.id}#{number}", answer)
                    if read(answer) is not None:
                        return

            wanted = takewhile(lambda _: not failures, questions)
            with counted(f"Judging by {self.model}", len(questions), "questions") as advance:
                for _, outcome in as_done(ask, wanted, at_once=self.settings.concurrency):
                    if isinstance(outcome, BaseException):
                        failures.append(outcome)
                        client.stop()
                    else:
                        advance(1)
        if failures:
            raise failures[0]

    def _summary(
        self, questions: Sequence[Question], store: ItemStore, read: Callable[[Mapping[str, Any]], Any]
    ) -> Judged:
        kept = {one.id: list(self._kept(one, store)) for one in questions}
        verdicts = {id: [read(answer) for answer in answers] for id, answers in kept.items()}
        return Judged(
            verdicts={id: next((one for one in found if one is not None), None) for id, found in verdicts.items()},
            answers={id: answers[-1] for id, answers in kept.items()},
            nonsense=sum(one is None for found in verdicts.values() for one in found),
            usage={
                name: sum(int(answer["usage"].get(name) or 0) for answers in kept.values() for answer in answers)
                for name in ("prompt_tokens", "completion_tokens")
            },
        )

    def _endpoint(self) -> Endpoint:
        settings = self.settings
        assert settings.base_url is not None
        return Endpoint(
            address=settings.base_url,
            model=self.model,
            key_variable=settings.key_variable,
            timeout=settings.timeout,
            attempts=settings.attempts,
            key="JUDGE_BASE_URL",
        )

    def _estimate(self, questions: Sequence[Question]) -> None:
        """Say what is about to be asked, and what it may cost, before the first paid answer."""
        characters = sum(len(str(message["content"])) for one in questions for message in one.messages)
        into = characters / CHARACTERS_PER_TOKEN
        most = len(questions) * float(self.body.get("max_tokens", 0))
        told = f"About to ask {self.model} {len(questions)} questions: about {into / 1e3:,.0f} thousand tokens in"
        told += f", at most {most / 1e3:,.0f} thousand out" if most else ""
        if self.settings.price_per_mtok is None:
            print(f"{told}. JUDGE_PRICE_PER_MTOK=in,out (a million tokens each) tells the cost.", flush=True)
            return
        price_in, price_out = self.settings.price_per_mtok
        print(
            f"{told}; about {into / 1e6 * price_in:,.2f} to {(into * price_in + most * price_out) / 1e6:,.2f} at "
            f"{price_in:g} and {price_out:g} a million.",
            flush=True,
        )


def find_judge(settings: JudgeSettings, *, model: str | None, body: Mapping[str, Any]) -> Judge:
    """The judge that the environment and the recipe name.

    Args:
        model: what the benchmark prescribes; another one that is stated is told, as scores are not comparable.

    Raises:
        SetupError: no address or model is stated, no server listens there, the key is missing, or a price is no number.
    """
    stated = from_environment(settings)
    faults = []
    if stated.base_url is None:
        remedy = "JUDGE_BASE_URL=https://api.openai.com/v1, or http://host:8000/v1 of a server of your own"
        faults.append(Fault(key="JUDGE_BASE_URL", rule="must be set, since this suite needs a judge", remedy=remedy))
    if stated.model is None and model is None:
        faults.append(Fault(key="JUDGE_MODEL", rule="must be set", remedy="the model as the judge's server calls it"))
    if faults:
        raise SetupError(faults)
    check_address(str(stated.base_url), key="JUDGE_BASE_URL")
    if stated.base_url is not None and "api.openai.com" in stated.base_url and not os.environ.get(stated.key_variable):
        raise SetupError(Fault(key=stated.key_variable, rule="is not set, and this judge wants a key"))
    if model is not None and stated.model not in (None, model):
        print(
            f"{stated.model} judges instead of {model}: scores are not comparable with published ones.", file=sys.stderr
        )
    judge = Judge(settings=stated, model=str(stated.model or model), body=body)
    judge.reach()
    return judge


def from_environment(settings: JudgeSettings) -> JudgeSettings:
    """`settings` with what JUDGE_BASE_URL, JUDGE_MODEL and JUDGE_PRICE_PER_MTOK say.

    Raises:
        SetupError: the price is no number.
    """
    changes: dict[str, Any] = {
        name: value
        for name, variable in (("base_url", "JUDGE_BASE_URL"), ("model", "JUDGE_MODEL"))
        if (value := os.environ.get(variable, "").strip())
    }
    if price := os.environ.get("JUDGE_PRICE_PER_MTOK", "").strip():
        try:
            changes["price_per_mtok"] = tuple(float(part) for part in price.split(","))
        except ValueError:
            changes["price_per_mtok"] = ()
    found = replace(settings, **changes)
    if faults := list(found.faults("evaluation.judge")):
        raise SetupError(
            [replace(fault, key="JUDGE_PRICE_PER_MTOK") if "price" in fault.key else fault for fault in faults]
        )
    return found


def _record(completion: Completion) -> dict[str, Any]:
    return {"text": completion.text, "choice": dict(completion.choice), "usage": dict(completion.usage)}
