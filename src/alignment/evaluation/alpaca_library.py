"""The `alpaca_eval` library as it is used here: its annotators ask our judge, its estimators are called as they are."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alignment.errors import Fault, SetupError, did_you_mean, sentence_of

INSTALL = "pip install .[eval]"
_PAIR = ("instruction", "output_1", "output_2")
_ASKED = "openai_completions"
"""What an annotator must be asked by: an OpenAI-compatible endpoint."""


class Annotator:
    """One configuration of the library's: its judge's prompt, the order of the two answers, and how it is read.

    Raises:
        SetupError: the library is not installed, or has no such annotator that an endpoint can be.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._config = _configuration(name)
        self._completions: dict[str, Any] = dict(self._config["completions_kwargs"])
        self._parsing = self._single(lambda **_: {})

    @property
    def model(self) -> str:
        """The judge that it prescribes."""
        return str(self._completions["model_name"])

    @property
    def body(self) -> dict[str, Any]:
        """Settings of each request."""
        return {key: value for key, value in self._completions.items() if key not in ("model_name", "price_per_token")}

    def questions(self, pairs: Sequence[Mapping[str, str]]) -> list[list[dict[str, str]]]:
        """The messages for each pair `{instruction, output_1, output_2}`, in their order."""
        asked: dict[int, list[dict[str, str]]] = {}
        self._annotate(pairs, lambda numbers, prompts: asked.update(zip(numbers, map(_messages, prompts), strict=True)))
        return [asked[number] for number in range(len(pairs))]

    def preferences(
        self, pairs: Sequence[Mapping[str, str]], answers: Sequence[Mapping[str, Any] | None]
    ) -> list[float | None]:
        """What the judge's answers say of the pairs, from 1 to 2; `None` where one says nothing."""
        return self._annotate(pairs, lambda numbers, _: [self._completion(answers[number]) for number in numbers])

    def verdict(self, answer: Mapping[str, Any]) -> float | None:
        """What an answer says of the order in which it was asked; `None` where it says nothing."""
        (found,), _ = self._parsing._parse_completions([self._completion(answer)])
        return None if found is None or found != found else float(found)

    def _annotate(
        self, pairs: Sequence[Mapping[str, str]], complete: Callable[[list[int], Sequence[str]], Any]
    ) -> list[float | None]:
        """The library's own run over the pairs; `complete` stands for its client."""
        import pandas

        frame = pandas.DataFrame(pairs, columns=list(_PAIR)).assign(number=range(len(pairs)))
        order: list[int] = []

        def client(prompts: Sequence[str], **_: Any) -> dict[str, list[Any]]:
            found = complete(order, prompts)
            return {self._config.get("completion_key", "completions"): found or [""] * len(prompts)}

        single = self._single(client)
        prompted = single._make_prompts

        def make_prompts(shuffled: Any) -> Any:
            prompts, kept = prompted(shuffled)
            order.extend(kept["number"])
            return prompts, kept

        single._make_prompts = make_prompts
        with quiet():
            annotated = single(frame)
        found = dict(zip(annotated["number"], annotated["preference"], strict=True))
        return [float(found[number]) if number in found else None for number in range(len(pairs))]

    def _single(self, client: Callable[..., Any]) -> Any:
        from alpaca_eval.annotators.pairwise_evaluator import SinglePairwiseAnnotator

        stated = {**self._config, "fn_completions": client, "completions_kwargs": {}}
        return SinglePairwiseAnnotator(**stated)

    def _completion(self, answer: Mapping[str, Any] | None) -> Any:
        """What the library's client would have returned of an answer."""
        whole = self._config.get("completion_key") == "completions_all"
        if answer is None:
            return {} if whole else ""
        return {**answer["choice"], "text": answer["text"]} if whole else answer["text"]


def length_controlled(rows: list[dict[str, Any]]) -> tuple[float, float]:
    """Length-controlled win rate and its standard error, from 0 to 100, of annotations with their `index`.

    Raises:
        SetupError: the library is not installed.
    """
    library()
    from alpaca_eval.metrics import get_length_controlled_winrate

    with quiet():
        found = get_length_controlled_winrate(rows, save_weights_dir=None, is_add_glm_preference_inplace=False)
    return float(found["length_controlled_winrate"]), float(found["lc_standard_error"])


def library() -> Any:
    """The module. Raises `SetupError` where it cannot be imported."""
    try:
        import alpaca_eval
    except ImportError as error:
        rule = f"cannot be imported ({sentence_of(error)})"
        raise SetupError(Fault(key="alpaca_eval", rule=rule, remedy=f"install it with `{INSTALL}`")) from error
    return alpaca_eval


def _configuration(name: str) -> dict[str, Any]:
    import yaml

    root = Path(library().__file__).parent / "evaluators_configs"
    known = sorted(path.parent.name for path in root.glob("*/configs.yaml"))
    if name not in known:
        remedy = did_you_mean(name, known) or "weighted_alpaca_eval_gpt4_turbo is that of AlpacaEval 2"
        raise SetupError(Fault(key="evaluation.alpaca_eval.annotator", value=name, rule="is unknown", remedy=remedy))
    config: dict[str, Any] = next(iter(yaml.safe_load((root / name / "configs.yaml").read_text()).values()))
    asked, at_once = config.get("fn_completions"), config.get("batch_size", 1)
    if asked != _ASKED or at_once != 1:
        rule = f"is asked by {asked}, {at_once} pairs at a time, and a judge here by {_ASKED}, one at a time"
        raise SetupError(Fault(key="evaluation.alpaca_eval.annotator", value=name, rule=rule))
    return config


def _messages(prompt: str) -> list[dict[str, str]]:
    from alpaca_eval.utils import prompt_to_chatml

    if prompt.strip().startswith("<|im_start|>"):
        return prompt_to_chatml(prompt)
    return [{"role": "user", "content": prompt}]


@contextmanager
def quiet() -> Iterator[None]:
    """Without the library's own log, which tells what is told here already."""
    logger = logging.getLogger()
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
