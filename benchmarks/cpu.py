"""Speed and memory on a CPU: ours against the reference's method and TRL, on the same pairs, at equal losses.

    python benchmarks/cpu.py                     about ten minutes on two cores; writes benchmarks/results/cpu.json
    python benchmarks/cpu.py --size tiny --rounds 1 --folder /tmp/results        a quick look

An optimizer step of 32 pairs with realistic lengths on a scaled-down Gemma-2 in fp32: forward and backward of all its
micro-batches. Arms are interleaved; seconds are medians, of processor time for the default single thread; memory is
measured in a process of its own for each arm.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import measure
import torch
from arms import Loss, dpo_trainer, ours, padding_free, reference_method, run_step, trl_trainer
from workload import (
    SIZES,
    Size,
    balanced_micro_batches,
    build_model,
    config_of,
    even_micro_batches,
    make_pairs,
    sample_lengths,
)

from alignment.modeling.chunked_logps import chunked_logps
from alignment.modeling.flops import Geometry, training_flops
from alignment.modeling.packed_forward import prepare_for_packing

MICRO_BATCH = 2
"""Pairs of a padded micro-batch, as the reference trained Gemma-2."""
TOKENS = 2048
"""Tokens of a packed one; our default on a CPU."""
PAIRS = 32
REFERENCE, TRL, TWO_ROWS, OURS_CHECKPOINTED, OURS = (
    "reference's method",
    "TRL CPOTrainer",
    "padding-free, two rows a pair",
    "ours, all layers checkpointed",
    "ours",
)
CHECKPOINTED = {REFERENCE, TRL, OURS_CHECKPOINTED}
"""The reference and TRL's default both checkpoint every layer."""


def make_arm(
    name: str, size: Size, lengths: Sequence[Any], *, padded_micro_batch: int = MICRO_BATCH
) -> Callable[[], float]:
    """A call that does one optimizer step's forward and backward and returns its loss."""
    pairs = make_pairs(list(lengths), size)
    model = build_model(size, dtype=torch.float32, device="cpu")
    loss: Loss
    if name in (REFERENCE, TRL):
        loss = reference_method if name == REFERENCE else trl_trainer(model, micro_batch=padded_micro_batch)
        micro_batches = even_micro_batches(pairs, padded_micro_batch)
    else:
        loss = padding_free if name == TWO_ROWS else ours
        prepare_for_packing(model)
        dealt = balanced_micro_batches(pairs, list(lengths), Geometry.of(model.config), tokens=TOKENS)
        micro_batches = [rows for ranks in dealt for rows in ranks]
    if name in CHECKPOINTED:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return lambda: run_step(model, loss, micro_batches)


def extra_memory(name: str, options: argparse.Namespace) -> float:
    """MiB that one step of an arm takes above the loaded model, in a process of its own."""
    command = [sys.executable, __file__, "--memory-of", name, "--size", options.size, "--threads", str(options.threads)]
    done = subprocess.run([*command, "--pairs", str(options.pairs)], capture_output=True, text=True, check=True)
    return float(done.stdout.strip().splitlines()[-1])


def print_memory(name: str, size: Size, pairs: int) -> None:
    print(measure.memory_above_now(make_arm(name, size, sample_lengths(pairs, size))))


def sweep(size: Size, rounds: int) -> dict[str, Any]:
    """Seconds against the number of pairs, and against the share of a pair's tokens that its prompt takes."""
    by_pairs = {}
    for pairs in (8, 16, 32):
        lengths = sample_lengths(32, size, seed=1)[:pairs]
        by_pairs[pairs] = timed({name: make_arm(name, size, lengths) for name in (REFERENCE, OURS)}, rounds)
    by_share = {}
    for share in (0.1, 0.3, 0.5, 0.7):
        lengths = sample_lengths(8, size, seed=2, prompt_share=share)
        arms = {name: make_arm(name, size, lengths) for name in (REFERENCE, TWO_ROWS, OURS)}
        by_share[share] = timed(arms, rounds)
    return {"seconds_by_pairs": by_pairs, "seconds_by_prompt_share": by_share}


def timed(arms: dict[str, Callable[[], float]], rounds: int) -> dict[str, float]:
    return medians(measure.interleaved(arms, rounds, lambda _: None, clock=clock()))


def medians(results: dict[str, Any]) -> dict[str, float]:
    return {name: round(measure.median(result["seconds"]), 4) for name, result in results.items()}


def clock() -> Callable[[], float]:
    """Processor time for one thread, so that neighbors on the machine don't count; wall time for several."""
    return time.process_time if torch.get_num_threads() == 1 else time.perf_counter


def matmul_tflops() -> float:
    return measure.matmul_tflops(*measure.CPU_PRODUCT, device="cpu", dtype=torch.float32, clock=clock())


def dpo(size: Size, pairs: int, rounds: int) -> dict[str, Any]:
    """DPO's step, reference model included: TRL's padded batches against the same ones with shared prompts."""
    rows = make_pairs(sample_lengths(pairs, size), size)
    arms = {}
    for name, packing in (("TRL DPOTrainer", False), ("ours", True)):
        model = build_model(size, dtype=torch.float32, device="cpu")
        loss = dpo_trainer(model, micro_batch=MICRO_BATCH, packing=packing)
        arms[name] = partial(run_step, model, loss, even_micro_batches(rows, MICRO_BATCH))
    measured = measure.interleaved(arms, rounds, lambda _: None, clock=clock())
    seconds = medians(measured)
    losses = {name: result["loss"] for name, result in measured.items()}
    return {
        "pairs": pairs,
        "micro_batch": MICRO_BATCH,
        "seconds": seconds,
        "loss": losses,
        "ratio": round(seconds["TRL DPOTrainer"] / seconds["ours"], 3),
    }


def head(rounds: int, *, tokens: int = 1024, hidden: int = 256, vocabulary: int = 256_000) -> dict[str, Any]:
    """The output head alone with Gemma's vocabulary: plain against chunked, seconds of forward and backward."""
    torch.manual_seed(0)
    x, weight = torch.randn(tokens, hidden, requires_grad=True), torch.randn(vocabulary, hidden).mul_(0.1)
    weight.requires_grad_()
    targets = torch.randint(0, vocabulary, (tokens,))

    def plain() -> float:
        logits = torch.tanh(x @ weight.t() / 30.0) * 30.0
        return backward(logits.log_softmax(-1).gather(1, targets[:, None])[:, 0])

    def chunked() -> float:
        return backward(chunked_logps([(x, weight)], targets, softcap=30.0)[0])

    def backward(logps: torch.Tensor) -> float:
        x.grad = weight.grad = None
        logps.mean().backward()
        return logps.mean().item()

    seconds = timed({"plain": plain, "chunked": chunked}, rounds)
    shape = {"tokens": tokens, "hidden": hidden, "vocabulary": vocabulary}
    return {**shape, "seconds": seconds, "ratio": round(seconds["plain"] / seconds["chunked"], 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="scaled-down")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="more than one is noisy where cores are shared")
    parser.add_argument("--folder", type=Path, default=measure.RESULTS)
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    size = SIZES[options.size]
    if options.memory_of:
        print_memory(options.memory_of, size, options.pairs)
        return

    started, machine = time.perf_counter(), measure.hardware()
    lengths = sample_lengths(options.pairs, size)
    arms = {name: make_arm(name, size, lengths) for name in (REFERENCE, TRL, TWO_ROWS, OURS_CHECKPOINTED, OURS)}

    def say(what: str) -> None:
        print(f"[{time.perf_counter() - started:5.0f} s] {what}", flush=True)

    before = matmul_tflops()
    results = measure.interleaved(arms, options.rounds, say, clock=clock())
    ceiling = max(before, matmul_tflops())
    work = training_flops(Geometry.of(config_of(size)), lengths) / 1e12
    rows = [
        {
            "name": name,
            "seconds_median": round(measure.median(result["seconds"]), 4),
            "seconds": [round(value, 4) for value in result["seconds"]],
            "wall_seconds": [round(value, 4) for value in result["wall_seconds"]],
            "loss": result["loss"],
            "peak_mib": round(extra_memory(name, options), 1),
            "checkpointed": name in CHECKPOINTED,
            "share_of_ceiling": round(work / measure.median(result["seconds"]) / ceiling, 4),
        }
        for name, result in results.items()
    ]
    say("memory")
    ratios = {
        "ratio_to_reference": measure.ratios_to(rows, REFERENCE),
        "ratio_to_trl": measure.ratios_to(rows, TRL),
    }
    print(measure.table(rows, ratios), flush=True)
    check_equal(rows)
    tokens = sum(map(sum, lengths))
    result = {
        "title": f"SimPO, one optimizer step of {options.pairs} pairs, {size.name} Gemma-2, fp32, CPU",
        "hardware": machine,
        "versions": measure.versions(),
        "ceilings": {"matmul_tflops": ceiling},
        "workload": {
            "size": size.name,
            "model": size.model,
            "pairs": options.pairs,
            "tokens_shared_prompts": tokens,
            "tokens_two_rows": tokens + sum(prompt for prompt, _, _ in lengths),
            "padded_micro_batch": MICRO_BATCH,
            "tokens_per_device": TOKENS,
            "dtype": "float32",
            "clock": clock().__name__,
        },
        "arms": rows,
        **ratios,
        "cost": sweep(size, max(1, options.rounds // 2)),
    }
    say("cost against work")
    result["head"] = head(options.rounds, **({} if size.name != "tiny" else {"vocabulary": 8000}))
    say(f"head: {result['head']['ratio']} x plain")
    result["dpo"] = dpo(size, options.pairs // 2, options.rounds)
    say(f"DPO: {result['dpo']['ratio']} x TRL, losses {result['dpo']['loss']}")
    path = measure.write("cpu", result, options.folder)
    measure.plot(result, path.with_suffix(".png"))
    say(f"written to {path}")


def check_equal(rows: list[dict[str, Any]], tolerance: float = 1e-4) -> None:
    """A speed is worth nothing unless the losses are equal."""
    expected = rows[0]["loss"]
    wrong = [row["name"] for row in rows if abs(row["loss"] - expected) > tolerance * abs(expected)]
    if wrong:
        raise SystemExit(f"losses differ from {rows[0]['name']}'s {expected}: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
