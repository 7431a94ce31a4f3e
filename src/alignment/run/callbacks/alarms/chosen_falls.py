"""The preferred answers become unlikely."""

from __future__ import annotations

from alignment.run.callbacks.alarms.detector import Course, Finding, Log
from alignment.run.callbacks.alarms.falling import Falling

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
        self._bound = ANCHORED if course.anchored else SUM if course.method.reference else MEAN
        self._falling = Falling(course, "chosen")

    def see(self, log: Log) -> Finding | None:
        fall = self._falling.see(log)
        if fall is None or fall.nats <= self._bound:
            return None
        return Finding(
            since=fall.since,
            saw=f"a token of the preferred answers has lost {fall.nats:.2f} nats of log-probability; the bound is "
            f"{self._bound:g}",
            matters="The margin may grow all the same, as the other side falls faster, but the model no longer says "
            "what it should: repetition and broken sentences come next",
            try_="Lower learning_rate, raise beta, or add the likelihood itself (sft_weight: 0.1)",
        )
