"""Speed and memory on one GPU with the full geometry of Gemma-2-9B and random weights, in under nine minutes.

    python benchmarks/gpu.py                                    writes benchmarks/results/gpu.json
    python benchmarks/gpu.py --size tiny --device cpu --pairs 16 --rounds 1 --folder /tmp/results    its logic only

Needs torch >= 2.11 and transformers >= 5.17, nothing else. First the machine's ceilings (matrix product, copy), then
an optimizer step's forward and backward by every arm on the same pairs, then every attention backend that is here, then
the run of 59.6k pairs on 8 GPUs, projected from measured micro-batches. Optimizer and communication are not measured:
one GPU cannot hold Gemma-2-9B's AdamW state.
"""

from __future__ import annotations

import argparse
import gc
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import measure
import torch
from arms import Loss, ours, padding_free, reference_method, run_step, trl_method
from projection import project
from transformers import PreTrainedModel
from workload import SIZES, Size, balanced_micro_batches, build_model, even_micro_batches, make_pairs, sample_lengths

from alignment.errors import sentence_of
from alignment.modeling.attention import BACKENDS, needs_of, this_machine
from alignment.modeling.compiled_elementwise import fuse_elementwise
from alignment.modeling.device_memory import RESERVE, within_reach
from alignment.modeling.flops import Geometry, PairLengths, peak_flops, training_flops
from alignment.modeling.memory_plan import checkpoint_first_layers, plan_memory, score_bytes
from alignment.modeling.packed_forward import prepare_for_packing

REFERENCE, TRL, OURS = "reference's method", "TRL's method", "ours"
PADDED_MICRO_BATCH = 2
"""Pairs, as the reference trained on 80 GB."""


GEMMA_PRODUCT = (8192, 3584, 14336)
"""Rows, inner size and columns of the largest product in Gemma-2-9B's blocks."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """A way to compute the step."""

    loss: Loss
    micro_batches: Sequence[Any]
    checkpointed: int
    """Layers, from the first."""


@dataclass
class Bench:
    """One model on one device, the pairs of one optimizer step, and what was found so far, which is always on disk."""

    size: Size
    model: PreTrainedModel
    lengths: list[PairLengths]
    pairs: list[dict[str, Any]]
    deadline: float
    """Of `time.perf_counter`."""
    say: Callable[[str], None]
    folder: Path
    facts: dict[str, Any]
    """What the result says beside its arms."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    peaks: dict[str, float] = field(default_factory=dict)
    """MiB of each arm's last step."""

    @property
    def geometry(self) -> Geometry:
        return Geometry.of(self.model.config)

    @property
    def ratios(self) -> dict[str, dict[str, float]]:
        return {
            "ratio_to_reference": measure.ratios_to(self.rows, REFERENCE),
            "ratio_to_trl": measure.ratios_to(self.rows, TRL),
        }

    def packed(self, tokens: int) -> list[Any]:
        """The step's pairs as packed micro-batches of at most `tokens`."""
        dealt = balanced_micro_batches(self.pairs, self.lengths, self.geometry, tokens=tokens)
        return [rows for ranks in dealt for rows in ranks]

    def run(self, arms: dict[str, Arm], rounds: int) -> None:
        """Measure arms, interleaved; a row of each is on disk after every call of it."""
        measure.interleaved(
            {name: partial(self._step, name, arm) for name, arm in arms.items()},
            rounds,
            lambda what: self.say(f"{', '.join(arms)}: {what}"),
            deadline=self.deadline,
            guard=self.surviving,
            after=lambda name, found: self.keep(self._row(name, arms[name], found)),
        )
        release(self.model)

    def _step(self, name: str, arm: Arm) -> float:
        self.model.gradient_checkpointing_disable()
        checkpoint_first_layers(self.model, arm.checkpointed)
        self.model.zero_grad(set_to_none=True)
        loss: list[float] = []
        self.peaks[name] = peak_of(lambda: loss.append(run_step(self.model, arm.loss, arm.micro_batches)), self.model)
        return loss[0]

    def _row(self, name: str, arm: Arm, found: measure.Measured) -> dict[str, Any]:
        row = {
            "name": name,
            "seconds_median": None,
            "seconds": [round(value, 4) for value in found["seconds"]],
            "warm_up_seconds": round(found["warm_up_seconds"], 4),
            "loss": found["loss"],
            "peak_mib": round(self.peaks[name], 1),
            "checkpointed_layers": arm.checkpointed,
        }
        if not found["seconds"]:
            return {**row, "note": "only warmed up"}
        median = measure.median(found["seconds"])
        rate = training_flops(self.geometry, self.lengths) / median
        peak = peak_flops(torch.cuda.get_device_name()) if self.model.device.type == "cuda" else None
        ceiling = self.facts["ceilings"]["matmul_tflops"]
        return {
            **row,
            "seconds_median": round(median, 4),
            "pairs_per_second": round(len(self.pairs) / median, 3),
            "useful_tflops": round(rate / 1e12, 4),
            "mfu": round(rate / peak, 4) if peak else None,
            "share_of_ceiling": round(rate / 1e12 / ceiling, 4),
        }

    def keep(self, row: dict[str, Any]) -> None:
        """Put an arm's row in the place of its last one, and everything on disk."""
        names = [other["name"] for other in self.rows]
        place = names.index(row["name"]) if row["name"] in names else len(names)
        self.rows[place : place + 1] = [row]
        self.write()

    def write(self) -> Path:
        return measure.write("gpu", {**self.facts, "arms": self.rows, **self.ratios}, self.folder)

    @contextmanager
    def surviving(self, name: str) -> Iterator[None]:
        """Whatever fails inside is named in the result as arm `name`, and the benchmark goes on."""
        try:
            yield
        except Exception as error:  # a kernel or compiler may fail in any way
            memory = isinstance(error, torch.OutOfMemoryError)
            note = "out of memory" if memory else f"failed: {type(error).__name__}: {sentence_of(error)}"
            if not memory:
                traceback.print_exc()
            self.say(f"{name}: {note}")
            unmeasured = {"name": name, "seconds": [], "loss": None, "peak_mib": None}
            kept = next((row for row in self.rows if row["name"] == name), unmeasured)
            self.keep({**kept, "seconds_median": None, "note": note})
            error.__traceback__ = None  # its frames hold activations
            release(self.model)


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

    dtype = torch.bfloat16 if options.device == "cuda" else torch.float32
    facts = {
        "title": f"SimPO, one optimizer step of {options.pairs} pairs, {size.name}, {dtype}, {options.device}",
        "hardware": measure.hardware(),
        "versions": measure.versions(),
        "ceilings": measure_ceilings(options.device, dtype),
        "workload": {
            "size": size.name,
            "model": size.model,
            "pairs": options.pairs,
            "padded_micro_batch": PADDED_MICRO_BATCH,
            "dtype": str(dtype).removeprefix("torch."),
        },
    }
    say(f"ceilings {facts['ceilings']}")
    model = build_model(size, dtype=dtype, device=options.device)
    lengths = sample_lengths(options.pairs, size)
    facts["workload"]["tokens_shared_prompts"] = sum(map(sum, lengths))
    deadline = started + 60 * options.minutes
    bench = Bench(size, model, lengths, make_pairs(lengths, size), deadline, say, options.folder, facts)
    say(f"model of {sum(p.numel() for p in model.parameters()) / 1e9:.2f} B weights")

    layers = bench.geometry.layers
    padded = even_micro_batches(bench.pairs, PADDED_MICRO_BATCH)
    # The baselines first, on the untouched model; only then is it prepared for ours.
    baselines = {REFERENCE: reference_method, TRL: trl_method}
    bench.run(
        {name: Arm(loss=loss, micro_batches=padded, checkpointed=layers) for name, loss in baselines.items()},
        options.rounds,
    )

    with bench.surviving(OURS):
        run_ours(bench, options, dtype)
    print(measure.table(bench.rows, bench.ratios), flush=True)
    path = bench.write()
    measure.plot({**facts, "arms": bench.rows}, path.with_suffix(".png"))
    say(f"written to {path}")
    failed = [row["name"] for row in bench.rows if row.get("note", "").startswith("failed")]
    if failed:
        raise SystemExit(f"failed, and named in {path}: {', '.join(failed)}")


def run_ours(bench: Bench, options: argparse.Namespace, dtype: torch.dtype) -> None:
    """Our arms by the best attention here, by every other, and the projection."""
    model, layers = bench.model, bench.geometry.layers
    machine = this_machine(model.device)
    needs = needs_of(model.config, dtype, bench.size.max_length)
    best = prepare_for_packing(model, longest=bench.size.max_length)
    fused = not options.no_fused and fuse_elementwise(model, model.device)
    budget = plan_memory(
        bench.geometry,
        dtype.itemsize,
        free_memory(model),
        checkpointing="auto",
        longest_pair=max(map(sum, bench.lengths)),
        tokens=options.tokens,
        fused=fused,
        scores=score_bytes(best, bench.geometry, dtype.itemsize, bench.lengths),
    )
    bench.facts["workload"] |= {
        "tokens_per_device": budget.tokens,
        "checkpointed_layers": budget.checkpointed_layers,
        "attention_backend": best,
        "fused_elementwise": fused,
    }
    micro_batches = bench.packed(budget.tokens)
    default = Arm(loss=ours, micro_batches=micro_batches, checkpointed=budget.checkpointed_layers)
    arms = {
        OURS: default,
        f"{OURS}, all layers checkpointed": replace(default, checkpointed=layers),
        f"{OURS}, half the layers checkpointed": replace(default, checkpointed=layers // 2),
        f"{OURS}, no checkpointing": replace(default, micro_batches=bench.packed(budget.tokens // 2), checkpointed=0),
        "padding-free, two rows a pair": replace(default, loss=padding_free, checkpointed=layers),
    }
    bench.run(arms, options.rounds)
    for name in BACKENDS:
        if name not in (best, "segments") and BACKENDS[name](needs, machine) is None:
            with bench.surviving(f"{OURS}, {name}"):
                prepare_for_packing(model, requested=name, longest=bench.size.max_length)
                bench.run({f"{OURS}, {name}": default}, options.rounds)
    with bench.surviving("projection"):
        prepare_for_packing(model, longest=bench.size.max_length)
        bench.facts["projection"] = project(bench, budget, bench.say)


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
    return within_reach(model.device) * (1 - RESERVE) - 2 * weights


def measure_ceilings(device: str, dtype: torch.dtype) -> dict[str, float]:
    """What the machine does at best: TFLOP/s of a matrix product, GB/s of a copy (of a GPU)."""
    shape = GEMMA_PRODUCT if device == "cuda" else measure.CPU_PRODUCT
    ceilings = {"matmul_tflops": measure.matmul_tflops(*shape, device=device, dtype=dtype)}
    if device == "cuda":
        source = torch.empty(2**31, dtype=torch.uint8, device=device)
        target = torch.empty_like(source)
        seconds = measure.seconds_of(lambda: target.copy_(source))
        ceilings["copy_gb_per_second"] = round(2 * 2**31 / seconds / 1e9, 1)
    return ceilings


if __name__ == "__main__":
    main()
