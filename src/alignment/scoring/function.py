"""A Python function as a scorer."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from alignment.errors import DataError, Fault, SetupError, did_you_mean, sentence_of
from alignment.scoring.scorer import Conversation, check_conversations, finite_scores, row_name


def load_function(name: str) -> FunctionScorer:
    """The function `package.module:function`; modules of the working directory are found too.

    Raises:
        SetupError: there is no such module or function.
    """
    path, _, attribute = name.partition(":")
    module = _module(path, name)
    function = getattr(module, attribute, None)
    if function is None:
        rule = f"names no function: {path} has no {attribute}"
        raise SetupError(Fault(key="scorer", value=name, rule=rule, remedy=did_you_mean(attribute, dir(module))))
    if not callable(function):
        rule = f"names no function: {attribute} is of type {type(function).__name__}"
        raise SetupError(Fault(key="scorer", value=name, rule=rule, remedy="name a function of one conversation"))
    return FunctionScorer(name, function)


class FunctionScorer:
    """Calls a function with one conversation, or with all of them where it has the attribute `batched = True`."""

    def __init__(self, name: str, function: Callable[[Any], Any]) -> None:
        self.name = name
        self._function = function

    def score(self, conversations: Sequence[Conversation]) -> list[float]:
        """See `Scorer.score`."""
        check_conversations(conversations)
        if getattr(self._function, "batched", False):
            return finite_scores(self._all(list(conversations)), scorer=self.name)
        scores = [self._call(conversation, row_name(row)) for row, conversation in enumerate(conversations)]
        return finite_scores(scores, scorer=self.name)

    def _all(self, conversations: list[Conversation]) -> list[Any]:
        scores = self._call(conversations, f"conversations 0 to {len(conversations) - 1}") if conversations else []
        if not isinstance(scores, list | tuple) or len(scores) != len(conversations):
            found = f"{len(scores)} scores" if isinstance(scores, list | tuple) else type(scores).__name__
            rule = f"gave {found} for {len(conversations)} conversations"
            raise DataError(Fault(key="scorer", value=self.name, rule=rule, remedy="return a number for each"))
        return list(scores)

    def _call(self, given: Any, what: str) -> Any:
        try:
            return self._function(given)
        except Exception as error:  # it is the user's code
            rule = f"could not be scored: {self.name} raised {type(error).__name__}: {sentence_of(error)}"
            raise DataError(Fault(key=what, rule=rule, remedy="mend the function")) from error


def _module(path: str, name: str) -> ModuleType:
    # As with `python -m`: a scorer beside the recipe needs no installation.
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)
    try:
        return importlib.import_module(path)
    except Exception as error:  # importing runs the user's code
        rule = f"cannot be imported: {type(error).__name__}: {sentence_of(error)}"
        remedy = "give package.module:function, installed or below the working directory"
        raise SetupError(Fault(key="scorer", value=name, rule=rule, remedy=remedy)) from error
