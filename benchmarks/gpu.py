"""Speed and memory on one GPU with the full geometry of Gemma-2-9B and random weights, in under nine minutes.

    python benchmarks/gpu.py                                    writes benchmarks/results/gpu.json
    python benchmarks/gpu.py --size tiny --device cpu --pairs 16 --rounds 1 --folder /tmp/results    its logic only

Needs torch >= 2.11 and transformers >= 5.17, nothing else. First the machine's ceilings (matrix product, copy), then
an optimiser step's forward and backward by every arm on the same pairs, then every attention backend that is here, then
the run of 59.6k pairs on 8 GPUs, projected from measured micro-batches. Optimiser and communication are not measured:
one GPU cannot hold Gemma-2-9B's AdamW state.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import measure
import torch
from arms import Loss, ours, padding_free, reference_method, run_step, trl_method
from projection import project
from transformers import PreTrainedModel
from workload import SIZES, Size, balanced_micro_batches, build_model, even_micro_batches, make_pairs, sample_lengths

from alignment.modeling.attention import BACKENDS, needs_of, this_machine
from alignment.modeling.fused import fuse_elementwise
from alignment.modeling.packed import prepare_for_packing
from alignment.modeling.recompute import RESERVE, checkpoint_first_layers, plan_memory
from alignment.throughput import Geometry, PairLengths, peak_flops, training_flops

REFERENCE, TRL, OURS = "reference's method", "TRL's method", "ours"
PADDED_MICRO_BATCH = 2
"""Pairs, as the reference trained on 80 GB."""


@dataclass
class Bench:
    """One model on one device, and the pairs of one optimiser step."""

    size: Size
    model: PreTrainedModel
    lengths: list[PairLengths]
    pairs: list[dict[str, Any]]
    deadline: float
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def geometry(self) -> Geometry:
        return Geometry.of(self.model.config)

    def packed(self, tokens: int) -> list[Any]:
        """The step's pairs as packed micro-batches of at most `tokens`."""
        dealt = balanced_micro_batches(self.pairs, self.lengths, self.geometry, tokens=tokens)
        return [rows for ranks in dealt for rows in ranks]

    def arm(self, loss: Loss, micro_batches: Sequence[Any], checkpointed: int) -> Callable[[], float]:
        """A call that sets the model up for an arm and runs its step."""

        def step() -> float:
            self.model.gradient_checkpointing_disable()
            checkpoint_first_layers(self.model, checkpointed)
            return run_step(self.model, loss, micro_batches)

        return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="gemma-2-9b")
    parser.add_argument("--pairs", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=8.5, help="no new round is begun that would not end by then")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tokens", type=int, help="tokens of a packed micro-batch")
    parser.add_argument("--no-fused", action="store_true", help="leave norms and activations unfused")
    parser.add_argument("--folder", type=Path, default=measure.RESULTS)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no CUDA device; --device cpu --size tiny tests the benchmark's logic")

    started, size = time.perf_counter(), SIZES[options.size]

    def say(what: str) -> None:
        print(f"[{time.perf_counter() - started:5.0f} s] {what}", flush=True)

    ceilings = measure_ceilings(options.device) if options.device == "cuda" else {}
    say(f"ceilings {ceilings}")
    dtype = torch.bfloat16 if options.device == "cuda" else torch.float32
    model = build_model(size, dtype=dtype, device=options.device)
    lengths = sample_lengths(options.pairs, size)
    bench = Bench(size, model, lengths, make_pairs(lengths, size), started + 60 * options.minutes)
    say(f"model of {sum(p.numel() for p in model.parameters()) / 1e9:.2f} B weights")

    layers = bench.geometry.layers
    padded = even_micro_batches(bench.pairs, PADDED_MICRO_BATCH)
    # The baselines first, on the untouched model; only then is it prepared for ours.
    run_arms(bench, {REFERENCE: (reference_method, padded, layers), TRL: (trl_method, padded, layers)}, options, say)

    machine = this_machine(model.device)
    needs = needs_of(model.config, dtype, size.max_length)
    best = prepare_for_packing(model, longest=size.max_length)
    fused = not options.no_fused and fuse_elementwise(model, model.device)
    budget = plan_memory(
        bench.geometry,
        dtype.itemsize,
        free_memory(model),
        checkpointing="auto",
        longest_pair=max(map(sum, lengths)),
        tokens=options.tokens,
        fused=fused,
    )
    micro_batches = bench.packed(budget.tokens)
    arms = {
        OURS: (ours, micro_batches, budget.checkpointed_layers),
        f"{OURS}, all layers checkpointed": (ours, micro_batches, layers),
        f"{OURS}, half the layers checkpointed": (ours, micro_batches, layers // 2),
        f"{OURS}, no checkpointing": (ours, bench.packed(budget.tokens // 2), 0),
        "padding-free, two rows a pair": (padding_free, micro_batches, layers),
    }
    run_arms(bench, arms, options, say)
    for name in BACKENDS:
        if name not in (best, "segments") and BACKENDS[name](needs, machine) is None:
            prepare_for_packing(model, requested=name, longest=size.max_length)
            run_arms(bench, {f"{OURS}, {name}": (ours, micro_batches, budget.checkpointed_layers)}, options, say)
    prepare_for_packing(model, longest=size.max_length)

    ratios = {
        "ratio_to_reference": measure.ratios_to(bench.rows, REFERENCE),
        "ratio_to_trl": measure.ratios_to(bench.rows, TRL),
    }
    print(measure.table(bench.rows, ratios), flush=True)
    result = {
        "title": f"SimPO, one optimiser step of {options.pairs} pairs, {size.name}, {dtype}, {options.device}",
        "hardware": measure.hardware(),
        "versions": measure.versions(),
        "ceilings": ceilings,
        "workload": {
            "size": size.name,
            "model": size.model,
            "pairs": options.pairs,
            "tokens_shared_prompts": sum(map(sum, lengths)),
            "padded_micro_batch": PADDED_MICRO_BATCH,
            "tokens_per_device": budget.tokens,
            "checkpointed_layers": budget.checkpointed_layers,
            "attention_backend": best,
            "fused_elementwise": fused,
            "dtype": str(dtype).removeprefix("torch."),
        },
        "arms": bench.rows,
        **ratios,
        "projection": project(bench, budget, say),
    }
    path = measure.write("gpu", result, options.folder)
    measure.plot(result, path.with_suffix(".png"))
    say(f"written to {path}")


def run_arms(bench: Bench, arms: dict[str, Any], options: argparse.Namespace, say: Callable[[str], None]) -> None:
    """Measure arms, interleaved, and add their rows; an arm that does not fit says so."""
    runnable: dict[str, Callable[[], float]] = {}
    peaks: dict[str, float] = {}
    for name, (loss, micro_batches, checkpointed) in arms.items():
        step = bench.arm(loss, micro_batches, checkpointed)
        try:
            peaks[name] = peak_of(step, bench.model)
            runnable[name] = step
            say(f"warm: {name}")
        except torch.cuda.OutOfMemoryError:
            bench.rows.append(
                {"name": name, "seconds_median": None, "loss": None, "peak_mib": None, "note": "out of memory"}
            )
            say(f"out of memory: {name}")
        release(bench.model)
    seconds: dict[str, list[float]] = {name: [] for name in runnable}
    losses: dict[str, float] = {}
    for number in range(options.rounds):
        round_started = time.perf_counter()
        for name, step in runnable.items():
            measure.synchronize()
            begun = time.perf_counter()
            losses[name] = step()
            measure.synchronize()
            seconds[name].append(time.perf_counter() - begun)
        last = time.perf_counter() - round_started
        if time.perf_counter() + last > bench.deadline:
            say(f"stopped after round {number + 1}: the time is up")
            break
    flops = training_flops(bench.geometry, bench.lengths)
    peak = peak_flops(torch.cuda.get_device_name()) if options.device == "cuda" else None
    for name in runnable:
        median = measure.median(seconds[name])
        bench.rows.append(
            {
                "name": name,
                "seconds_median": round(median, 4),
                "seconds": [round(value, 4) for value in seconds[name]],
                "loss": losses[name],
                "peak_mib": round(peaks[name], 1),
                "checkpointed_layers": arms[name][2],
                "pairs_per_second": round(len(bench.pairs) / median, 3),
                "useful_tflops": round(flops / median / 1e12, 2),
                "mfu": round(flops / median / peak, 4) if peak else None,
            }
        )
        say(f"{name}: {median:.3f} s, loss {losses[name]:.5f}, MFU {bench.rows[-1]['mfu']}")
    release(bench.model)


def peak_of(step: Callable[[], float], model: PreTrainedModel) -> float:
    """MiB that a step takes above weights; on a CPU, above what the process held before."""
    if model.device.type == "cpu":
        return measure.memory_above_now(step)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    step()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def release(model: PreTrainedModel) -> None:
    model.zero_grad(set_to_none=True)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def free_memory(model: PreTrainedModel) -> float | None:
    """Bytes for activations beside weights and gradients; `None` on a CPU."""
    if model.device.type == "cpu":
        return None
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    return torch.cuda.get_device_properties(0).total_memory * (1 - RESERVE) - 2 * weights


def measure_ceilings(device: str) -> dict[str, float]:
    """What the machine does at best: TFLOP/s of Gemma-2-9B's largest block product in bf16, GB/s of a copy."""
    a = torch.randn(8192, 3584, device=device, dtype=torch.bfloat16)
    b = torch.randn(3584, 14336, device=device, dtype=torch.bfloat16)
    seconds = timed(lambda: a @ b)
    source = torch.empty(2**31, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy = timed(lambda: target.copy_(source))
    return {
        "matmul_tflops": round(2 * 8192 * 3584 * 14336 / seconds / 1e12, 1),
        "copy_gb_per_second": round(2 * 2**31 / copy / 1e9, 1),
    }


def timed(call: Callable[[], Any], repeats: int = 20) -> float:
    for _ in range(3):
        call()
    measure.synchronize()
    started = time.perf_counter()
    for _ in range(repeats):
        call()
    measure.synchronize()
    return (time.perf_counter() - started) / repeats


if __name__ == "__main__":
    main()
