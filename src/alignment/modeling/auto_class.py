"""Which class of transformers a model is of: one that answers, or a reward model, which gives a number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import transformers
from transformers.utils import logging

from alignment.errors import Fault, SetupError

SCORE_HEAD = "score.weight"
"""The head of a reward model, as `transformers.modeling_layers.GenericForSequenceClassification` names it."""
_LANGUAGE_HEAD = "lm_head."


def is_reward_model(architectures: Sequence[str] | None) -> bool:
    """Whether `architectures` of a configuration name a classifier of whole texts."""
    return any("ForSequenceClassification" in name for name in architectures or ())


def auto_class(*, scores: bool) -> Any:
    """The class that loads a model which answers, or one that scores."""
    return transformers.AutoModelForSequenceClassification if scores else transformers.AutoModelForCausalLM


@contextmanager
def without_report() -> Iterator[None]:
    """Load without the library's report of weights that do not fit, for callers that judge them themselves."""
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)


def check_one_label(config: Any, name: str) -> None:
    """Refuse to train a classifier of several labels as a reward model.

    Raises:
        SetupError: naming the labels.
    """
    if config.num_labels != 1:
        raise SetupError(
            Fault(
                key="model_name_or_path",
                value=name,
                rule=f"has {config.num_labels} labels, and a reward model has one",
                remedy="start from a language model, or from a reward model",
            )
        )


def exchanged_head(found: dict[str, Any]) -> dict[str, Any]:
    """The loading info of `from_pretrained`, without what a language model lacks as a reward model, and has too much.

    Its new head holds random numbers, and is what will be trained first.
    """
    return {
        **found,
        "missing_keys": [name for name in found["missing_keys"] if name != SCORE_HEAD],
        "unexpected_keys": [name for name in found["unexpected_keys"] if not name.startswith(_LANGUAGE_HEAD)],
    }
