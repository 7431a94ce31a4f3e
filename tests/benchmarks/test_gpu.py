"""The GPU benchmark keeps what it has measured, whatever happens to the next arm."""

from __future__ import annotations

import json
import time

import pytest
import torch
from arms import ours
from gpu import Arm, Bench
from workload import SIZES, build_model, make_pairs, sample_lengths

from alignment.modeling.packed_forward import prepare_for_packing


@pytest.fixture
def bench(tmp_path):
    size = SIZES["tiny"]
    lengths = sample_lengths(2, size)
    model = build_model(size, dtype=torch.float32, device="cpu")
    prepare_for_packing(model)
    facts = {"ceilings": {"matmul_tflops": 0.001}}
    deadline = time.perf_counter() + 600
    return Bench(size, model, lengths, make_pairs(lengths, size), deadline, print, tmp_path, facts)


def on_disk(bench: Bench) -> dict[str, dict]:
    return {arm["name"]: arm for arm in json.loads((bench.folder / "gpu.json").read_text())["arms"]}


def test_an_arm_that_fails_is_named_and_the_others_are_measured(bench):
    calls = []

    def broken(model, pairs):
        calls.append(1)
        raise ValueError("no kernel for heads of 3")

    def too_large(model, pairs):
        raise torch.OutOfMemoryError("CUDA out of memory")

    losses = {"first": ours, "broken": broken, "too large": too_large, "last": ours}
    bench.run({name: Arm(loss=loss, micro_batches=[bench.pairs], checkpointed=0) for name, loss in losses.items()}, 2)
    found = on_disk(bench)
    assert list(found) == ["first", "broken", "too large", "last"]
    assert found["broken"]["note"] == "failed: ValueError: no kernel for heads of 3"
    assert found["too large"]["note"] == "out of memory"
    assert len(calls) == 1
    assert [len(found[name]["seconds"]) for name in ("first", "last")] == [2, 2]
    assert found["first"]["loss"] == found["last"]["loss"]


def test_what_is_measured_is_on_disk_before_the_next_arm_begins(bench):
    seen = []

    def reads_the_result(model, pairs):
        seen.append({name: len(arm["seconds"]) for name, arm in on_disk(bench).items()})
        return ours(model, pairs)

    arms = {"first": ours, "second": reads_the_result}
    bench.run({name: Arm(loss=loss, micro_batches=[bench.pairs], checkpointed=0) for name, loss in arms.items()}, 1)
    assert seen == [{"first": 0}, {"first": 1, "second": 0}]


def test_an_arm_that_fails_later_keeps_its_seconds_but_has_no_median(bench):
    calls = []

    def twice(model, pairs):
        calls.append(1)
        if len(calls) > 2:
            raise RuntimeError("illegal memory access")
        return ours(model, pairs)

    bench.run({"twice": Arm(loss=twice, micro_batches=[bench.pairs], checkpointed=0)}, 3)
    found = on_disk(bench)["twice"]
    assert found["note"] == "failed: RuntimeError: illegal memory access"
    assert len(found["seconds"]) == 1 and found["seconds_median"] is None
    assert len(calls) == 3
