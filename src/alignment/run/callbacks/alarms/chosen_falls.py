"""The preferred answers become unlikely."""

from __future__ import annotations

from collections import deque
from statistics import fmean

from alignment.run.callbacks.alarms.detector import Course, Finding, Log

LOGS = 3
ANCHORED = 0.5
"""Where the loss itself asks for their likelihood (ORPO, sft_weight, SFT) any lasting fall is a fault."""
MEAN = 1.5
"""SimPO lowers both sides and is rewarded for their distance alone. Published runs end at a mean log-probability of
-0.9 to -1.4 for instruction-tuned models (RAY2L/Llama-3-Instruct-8B-SimPO: -1.18; Ejafa/phi-3-mini...simpo: -0.90,
Ejafa/qwen2-1.5b...simpo: -1.05), a few tenths below their beginning; one that broke, at -18 (RAY2L/...SimPOW-1)."""
SUM = 2.0
"""DPO lowers both further: published runs that work lose about one nat a token (chosen from -300 to -600 for answers of
some 300 tokens, RikkiXu/zephyr-7b-dpo-full)."""


class ChosenFalls:
    """The mean log-probability of a token of the preferred answers, over three logs, falls by more than the bound."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._bound = ANCHORED if course.anchored else SUM if course.method.reference else MEAN
        self._first: list[float] = []
        self._recent: deque[tuple[int, float]] = deque(maxlen=LOGS)

    def see(self, log: Log) -> Finding | None:
        now = self._per_token(log)
        if now is None:
            return None
        if len(self._first) < LOGS and not self._course.method.reference:
            self._first.append(now)
            return None
        self._recent.append((int(log["step"]), now))
        began = fmean(self._first) if self._first else 0.0
        fall = began - fmean(value for _, value in self._recent)
        if len(self._recent) < LOGS or fall <= self._bound:
            return None
        return Finding(
            since=self._recent[0][0],
            saw=f"a token of the preferred answers has lost {fall:.2f} nats of log-probability; the bound is "
            f"{self._bound:g}",
            matters="The margin may grow all the same, as the other side falls faster, but the model no longer says "
            "what it should: repetition and broken sentences come next",
            try_="Lower learning_rate, raise beta, or add the likelihood itself (sft_weight: 0.1)",
        )

    def _per_token(self, log: Log) -> float | None:
        """Nats of one token; of a method with a reference model, relative to that."""
        course = self._course
        if not course.rewarded:
            return -log["loss"] if "loss" in log else None
        if course.method.reference:
            if "rewards/chosen" not in log or not course.beta or not course.chosen_tokens:
                return None
            return log["rewards/chosen"] / (course.beta * course.chosen_tokens)
        return log.get("logps/chosen")
