"""What happens when a run is told to stop, dies, goes wrong, or must not start."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
import torch
from processes import KILL, ROOT, STOP, TIMEOUT, launch, logged, run, running, single, tamed_launch
from recipes import STEPS, workshop
from safetensors.torch import load_file
from tiny import gemma2, gemma_tokenizer, preference_rows

pytestmark = pytest.mark.slow
SIMPO = ROOT / "scripts/simpo.py"


def checkpoint(out: Path, step: int) -> Path:
    return out / f"checkpoint-{step}/trainer_state.json"


def assert_nothing_left(job) -> None:
    """No orphan outlives its launcher by more than a moment."""
    until = time.monotonic() + 10
    while left := job.descendants():
        assert time.monotonic() < until, left
        time.sleep(0.1)


def test_the_life_of_an_interrupted_run(tmp_path):
    """Preempted, killed, refused on another number of processes, resumed: equal, bit for bit, to one never stopped."""
    recipe = workshop(tmp_path, "simpo", num_train_epochs=2)
    out, never_stopped = tmp_path / "out", tmp_path / "never-stopped"
    done = run(launch("zero3_cpu", SIMPO, "--config", recipe, "--output_dir", never_stopped), tmp_path / "log")
    assert done.code == 0, done.output

    command = tamed_launch("zero3_cpu", SIMPO, "--config", recipe)
    with running(command, tmp_path / "log") as job:
        job.wait_for(checkpoint(out, 2), timeout=TIMEOUT)
        job.process.send_signal(STOP)
        done = job.finish(timeout=TIMEOUT)
        assert done.code == 0, done.output
        assert_nothing_left(job)
    assert "Stopped as asked; checkpoint-" in done.output
    assert "Traceback" not in done.output
    stopped_at = max(int(folder.name.removeprefix("checkpoint-")) for folder in out.glob("checkpoint-*"))
    assert stopped_at < STEPS
    assert not (out / "run_manifest.json").exists()

    later = next(step for step in range(2, STEPS, 2) if step > stopped_at)
    with running(command, tmp_path / "log") as job:
        job.wait_for(checkpoint(out, later), timeout=TIMEOUT)
        victim = job.ranks()[1]
        killed_at = time.monotonic()
        victim.send_signal(KILL)
        done = job.finish(timeout=TIMEOUT)
        assert time.monotonic() - killed_at < 30
        assert_nothing_left(job)
    assert done.code == 128 + KILL
    assert f"Rank 1 (process {victim.pid}) was ended by SIGKILL" in done.output
    assert "Traceback" not in done.output.split("Continuing from")[1]

    refused = run(single(SIMPO, "--config", recipe), tmp_path / "log")
    assert refused.code == 2
    assert "was written by DeepSpeed ZeRO on 2 processes, and this run is unsharded" in refused.output
    assert "NPROC=2" in refused.output

    done = run(command, tmp_path / "log")
    assert done.code == 0, done.output
    assert f"Continuing from {out}/checkpoint-" in done.output
    compared = [
        [
            {name: value for name, value in entry.items() if not name.startswith("throughput/")}
            for entry in logged(folder)
        ]
        for folder in (out, never_stopped)
    ]
    assert compared[0] == compared[1]
    assert len(compared[0]) == STEPS
    weights, expected = (load_file(folder / "model.safetensors") for folder in (out, never_stopped))
    assert all(torch.equal(weights[name], weight) for name, weight in expected.items())


def test_unsharded_checkpoints_go_on_with_any_number_of_processes(tmp_path):
    """One process is stopped, two go on under DDP: the losses of a run that was never stopped."""
    recipe = workshop(tmp_path, "simpo")
    done = run(single(SIMPO, "--config", recipe, "--output_dir", tmp_path / "whole"), tmp_path / "log")
    assert done.code == 0, done.output
    out = tmp_path / "out"
    with running(single(SIMPO, "--config", recipe), tmp_path / "log") as job:
        job.wait_for(checkpoint(out, 2), timeout=TIMEOUT)
        job.process.send_signal(STOP)
        done = job.finish(timeout=TIMEOUT)
    assert done.code == 0, done.output
    assert "The same command continues from there." in done.output
    assert not (out / "run_manifest.json").exists()
    done = run(tamed_launch("ddp", SIMPO, "--config", recipe, processes=2), tmp_path / "log")
    assert done.code == 0, done.output
    for mine, theirs in zip(logged(out), logged(tmp_path / "whole"), strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
        assert mine["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-3)


def test_a_rank_that_raises_ends_the_job_with_its_own_message(tmp_path):
    script = tmp_path / "raises.py"
    script.write_text(
        "import os, time\n"
        "from alignment.cli.exit import guarded\n"
        "def main():\n"
        "    import torch.distributed as dist\n"
        "    dist.init_process_group('gloo')\n"
        "    if os.environ['RANK'] == '1':\n"
        "        raise ArithmeticError('the cause')\n"
        "    dist.barrier()\n"
        "raise SystemExit(guarded(main))\n"
    )
    environment = {"ALIGNMENT_CACHE": str(tmp_path / "cache")}
    with running(tamed_launch("ddp", script, processes=2), tmp_path / "log", environment) as job:
        done = job.finish(timeout=120)
        assert_nothing_left(job)
    assert done.code == 1
    assert "Traceback" not in done.output
    kept = tmp_path / "cache/error-rank1.log"
    assert f"The command failed: ArithmeticError: the cause; the full traceback is in {kept}." in done.output
    assert "raise ArithmeticError('the cause')" in kept.read_text()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "Ctrl-C"])
def test_no_worker_outlives_its_launcher(tmp_path, number):
    script = tmp_path / "sleeps.py"
    script.write_text(
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from alignment.cli.exit import guarded\n"
        "from alignment.run.launch import end_with_launcher\n"
        "def main():\n"
        "    end_with_launcher()\n"
        "    Path(sys.argv[1], 'rank' + os.environ['RANK']).touch()\n"
        "    time.sleep(600)\n"
        "raise SystemExit(guarded(main))\n"
    )
    with running(tamed_launch("ddp", script, tmp_path, processes=2), tmp_path / "log") as job:
        for rank in (0, 1):
            job.wait_for(tmp_path / f"rank{rank}", timeout=TIMEOUT)
        assert len(job.ranks()) == 2
        job.process.send_signal(number)
        done = job.finish(timeout=60)
        assert_nothing_left(job)
    assert done.code == (-number if number == signal.SIGKILL else 128 + number)
    assert "Traceback" not in done.output


def odd_one_out(folder: Path, *, row: int) -> Path:
    """A model that knows every word but one, and rows of which only `row` contains that word."""
    tokenizer = gemma_tokenizer()
    mark = tokenizer("§", add_special_tokens=False)["input_ids"][-1]
    model = gemma2(len(tokenizer), tie_word_embeddings=False)
    with torch.no_grad():
        model.get_input_embeddings().weight[mark] = float("nan")
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    rows = preference_rows(44)
    for side in ("chosen", "rejected"):
        rows[row][side][-1]["content"] += " §"
    return workshop(folder, "simpo", rows=rows, save_steps=1, packing=False)


@pytest.mark.parametrize("config", ["zero3_cpu", None], ids=["ZeRO-3", "one process"])
def test_a_loss_that_is_no_number_stops_the_run_before_the_update(tmp_path, config):
    """Row 17 is trained on in the fourth step of this seed's order; nothing of that step is kept."""
    recipe = odd_one_out(tmp_path, row=17)
    arguments = (SIMPO, "--config", recipe)
    done = run(tamed_launch(config, *arguments) if config else single(*arguments), tmp_path / "log")
    assert done.code == 2, done.output
    assert done.output.count("loss is not a finite number for row 17 of the training data") == 1
    assert "Traceback" not in done.output
    saved = sorted(int(folder.name.removeprefix("checkpoint-")) for folder in (tmp_path / "out").glob("checkpoint-*"))
    last = saved[-1] if saved else 0
    assert f"optimizer step {last + 1} was not taken" in done.output
    if saved:
        weights = load_file(tmp_path / f"out/checkpoint-{last}/model.safetensors")
        unknown = weights.pop("model.embed_tokens.weight").isnan().any(1).sum()
        assert unknown == 1
        assert all(torch.isfinite(weight).all() for weight in weights.values())


def test_two_jobs_with_one_output_dir(tmp_path):
    recipe = workshop(tmp_path, "simpo")
    holder = tmp_path / "holder.py"
    holder.write_text(
        "import sys, time\nfrom pathlib import Path\nfrom alignment.output.folder import claim\n"
        "with claim(Path(sys.argv[1]), {}):\n    Path(sys.argv[2]).touch()\n    time.sleep(600)\n"
    )
    with running(single(holder, tmp_path / "out", tmp_path / "held"), tmp_path / "holder.log") as first:
        first.wait_for(tmp_path / "held", timeout=TIMEOUT)
        done = run(single(SIMPO, "--config", recipe), tmp_path / "log")
    assert done.code == 2
    assert f"output_dir {tmp_path / 'out'} is being written by another process" in done.output
    assert not list((tmp_path / "out").glob("checkpoint-*"))


def test_a_folder_that_cannot_be_written_is_found_before_training(tmp_path):
    (tmp_path / "file").touch()
    recipe = workshop(tmp_path, "simpo", output_dir=str(tmp_path / "file/out"))
    done = run(tamed_launch("zero3_cpu", SIMPO, "--config", recipe), tmp_path / "log")
    assert done.code == 2, done.output
    assert done.output.count("cannot be written: Not a directory") == 1
    assert "Traceback" not in done.output
