"""From measured micro-batches on one GPU to the released model's run on eight.

Assumptions, all of them: pairs have the lengths of `workload.sample_lengths`; a micro-batch costs on every GPU what it
was measured to cost on this one, as a straight line in its useful FLOPs (ours) or its padded tokens (the reference's);
ranks wait for each other at every micro-step, so a step costs the sum over micro-steps of the slowest rank; weights are
gathered and gradients reduced behind the computation; the optimizer's step is not counted. The last two are what one
GPU cannot measure: they make the true run longer.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import measure
from arms import ours, reference_method, run_step
from workload import balanced_micro_batches, even_micro_batches, make_pairs, sample_lengths

from alignment.modeling.flops import padded_tokens, training_flops
from alignment.modeling.memory_plan import Budget, checkpoint_first_layers

RANKS, STEP_PAIRS, RUN_PAIRS, STEPS = 8, 128, 59_569, 24
"""Virtual ranks, pairs a step and of the run, and steps that are replayed."""
REFERENCE_MINUTES = 100
"""What the authors report for 8 x H100."""


def project(bench: Any, budget: Budget, say: Callable[[str], None]) -> dict[str, Any]:
    """Minutes of the whole run on 8 GPUs, for the reference's method and for ours."""
    lengths = sample_lengths(STEPS * STEP_PAIRS, bench.size, seed=3)
    geometry = bench.geometry
    reference_line = fit(bench, "reference", budget)
    ours_line = fit(bench, "ours", budget)
    say("micro-batches measured")
    reference_seconds = ours_seconds = useful = 0.0
    for start in range(0, len(lengths), STEP_PAIRS):
        step = lengths[start : start + STEP_PAIRS]
        useful += training_flops(geometry, step)
        even = even_micro_batches(step, 2)
        for micro_step in range(0, len(even), RANKS):
            ranks = even[micro_step : micro_step + RANKS]
            reference_seconds += max(seconds_at(reference_line, padded_tokens(pairs)) for pairs in ranks)
        for ranks in balanced_micro_batches(step, step, geometry, tokens=budget.tokens, world=RANKS):
            ours_seconds += max(seconds_at(ours_line, training_flops(geometry, pairs)) for pairs in ranks)
    scale = RUN_PAIRS / len(lengths) / 60
    return {
        "assumptions": " ".join((__doc__ or "").split("\n\n", 1)[1].split()),
        "ranks": RANKS,
        "pairs": RUN_PAIRS,
        "replayed_steps": STEPS,
        "reference_minutes": round(reference_seconds * scale, 2),
        "ours_minutes": round(ours_seconds * scale, 2),
        "ratio_to_reference": round(reference_seconds / ours_seconds, 3),
        "reported_reference_minutes": REFERENCE_MINUTES,
        "useful_tflops_per_gpu": round(useful / ours_seconds / RANKS / 1e12, 1),
    }


def fit(bench: Any, method: str, budget: Budget) -> tuple[float, float]:
    """Intercept and slope of a micro-batch's seconds in its work, from several of different size."""
    lengths = sample_lengths(STEP_PAIRS, bench.size, seed=4)
    pairs = make_pairs(lengths, bench.size)
    geometry = bench.geometry
    bench.model.gradient_checkpointing_disable()
    if method == "ours":
        checkpoint_first_layers(bench.model, budget.checkpointed_layers)
        dealt = balanced_micro_batches(pairs, lengths, geometry, tokens=budget.tokens)
        whole = sorted((rows for ranks in dealt for rows in ranks), key=len)
        samples = [rows for full in whole[:2] for rows in (full, full[: max(1, len(full) // 2)])]
        loss = ours
    else:
        checkpoint_first_layers(bench.model, geometry.layers)
        by_tokens = sorted(even_micro_batches(pairs, 2), key=lambda rows: padded_tokens(map(_lengths, rows)))
        samples = [by_tokens[round(q * (len(by_tokens) - 1))] for q in (0.1, 0.4, 0.7, 0.95)]
        loss = reference_method
    points = []
    for rows in samples:
        seconds = []
        for repeat in range(3):
            measure.synchronize()
            begun = time.perf_counter()
            run_step(bench.model, loss, [rows])
            measure.synchronize()
            if repeat:
                seconds.append(time.perf_counter() - begun)
        work = training_flops(geometry, map(_lengths, rows)) if method == "ours" else padded_tokens(map(_lengths, rows))
        points.append((work, min(seconds)))
    return least_squares(points)


def seconds_at(line: tuple[float, float], work: float) -> float:
    intercept, slope = line
    return intercept + slope * work


def least_squares(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The line through points; its intercept is held at 0 or above."""
    work, seconds = zip(*points, strict=True)
    if len(set(work)) > 1:
        slope, intercept = statistics.linear_regression(work, seconds)
        if intercept >= 0 and slope > 0:
            return intercept, slope
    return 0.0, statistics.fmean(seconds) / statistics.fmean(work)


def _lengths(pair: dict[str, Any]) -> tuple[int, int, int]:
    return len(pair["prompt_ids"]), len(pair["chosen_ids"]), len(pair["rejected_ids"])
