"""Answers of a model under evaluation, drawn by an engine and kept one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alignment.data.fingerprint import digest_of
from alignment.errors import Fault, SetupError
from alignment.evaluation.context import Context, installed
from alignment.evaluation.subjects import Subject
from alignment.generation.answers import Answer
from alignment.generation.engine import Request
from alignment.generation.load import chosen_engine, load_engine
from alignment.recipe.generation_settings import HOW_FAST, GenerationSettings
from alignment.terminal import counted


def request(messages: Sequence[Mapping[str, str]], seed: int) -> Request:
    """A request named after what is asked, so that another question is never answered by a kept answer."""
    return Request(id=f"{digest_of(list(map(dict, messages)))[:20]}/{seed}", messages=messages, seed=seed)


def draw(
    context: Context, subject: Subject, suite: str, requests: Sequence[Request], settings: GenerationSettings
) -> dict[str, Answer]:
    """The answer to each request, by its id; those that are there already are not drawn again.

    Raises:
        SetupError: the model, the library or the server cannot be had, or what lies there is another model's.
    """
    about = {"model": identity(subject, settings), **decoding(settings)}
    store = context.store(subject, f"{suite}/outputs", about)
    missing = [one for one in requests if one.id not in store.found]
    if missing:
        engine = load_engine(settings, subject.arguments, chat_template=subject.chat_template)
        try:
            with counted(f"Answers, {subject.label}", len(missing), "answers") as advance:
                for asked, answer in engine.answers(missing):
                    store.add(asked.id, {"messages": list(asked.messages), **asdict(answer)})
                    advance(1)
        finally:
            engine.close()
    kept = ("text", "finished", "tokens")
    return {one.id: Answer(**{key: store.found[one.id][key] for key in kept}) for one in requests}


def decoding(settings: GenerationSettings) -> dict[str, Any]:
    """What decides an answer beside the model: settings, engine, and the library's version."""
    engine = chosen_engine(settings)
    stated = {key: value for key, value in asdict(settings).items() if key not in (*HOW_FAST, "engine", "seeds")}
    versions = {} if engine == "server" else installed(engine)
    return {"engine": engine, "generation": stated, "versions": versions}


def identity(subject: Subject, settings: GenerationSettings) -> dict[str, Any]:
    """What makes an answer this model's; behind a server, also where, which must be believed to serve it."""
    if chosen_engine(settings) != "server":
        return subject.identity
    served = {"server": settings.base_url, "served_as": settings.server_model or subject.name}
    known = subject.identity if Path(subject.name).is_dir() else {"name": subject.name}
    return {**known, **served}


def check_servers(subjects: Sequence[Subject], settings: GenerationSettings) -> None:
    """Raise `SetupError` where one server would have to be several models."""
    if len(subjects) > 1 and settings.server_model is not None:
        rule = f"is one model, and {len(subjects)} are to answer: {', '.join(subject.label for subject in subjects)}"
        remedy = "leave it out for a server that has each under its own name, or evaluate them one by one with MODEL="
        raise SetupError(Fault(key="generation.server_model", value=settings.server_model, rule=rule, remedy=remedy))
