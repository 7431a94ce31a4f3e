"""What a person sees of a run: lines worked out by hand, and what real runs print and record."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Mapping
from pathlib import Path

import pytest
from datasets import Dataset
from tiny import gemma2, gemma_tokenizer, preference_rows
from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers.trainer_callback import ProgressCallback

from alignment import SimPOConfig, SimPOTrainer
from alignment.run.callbacks.progress import Progress, evaluation_line, show_progress, step_line, summary_line

ROOT = Path(__file__).parents[3]
LOG = {
    "loss": 1.2239,
    "grad_norm": 4.369,
    "learning_rate": 0.000267,
    "logps/chosen": -1.319,
    "rewards/accuracies": 0.625,
    "rewards/margins": 0.41,
    "throughput/tokens_per_second": 15165.4,
    "throughput/peak_memory_gib": 3.876,
    "epoch": 0.5,
}
SHORT = "step 13/26  50% | loss 1.224  margin 0.410  acc 0.62 | lr 2.7e-04  grad 4.37"


def test_a_log_in_one_line():
    """13 of 26 steps in 94 seconds leave 94."""
    line = step_line(LOG, step=13, total=26, first=0, seconds=94)
    assert line == SHORT + " | 15,165 tok/s  3.9 GiB | 1:34, 1:34 left"
    line = step_line({**LOG, "throughput/mfu": 0.413}, step=13, total=26, first=0, seconds=94)
    assert "15,165 tok/s  41% MFU  3.9 GiB" in line


def test_the_pace_of_a_resumed_run_is_that_of_its_own_steps():
    """Steps 11 to 13 took 30 seconds, so the other 13 take 130; before the first step nothing is known."""
    assert step_line(LOG, step=13, total=26, first=10, seconds=30).endswith(" | 0:30, 2:10 left")
    assert step_line(LOG, step=10, total=26, first=10, seconds=5).endswith(" | 0:05")
    assert step_line(LOG, step=26, total=26, first=10, seconds=7000).endswith(" | 1:56:40")


def test_in_a_terminal_a_line_fits():
    """The bar has speed and time; what does not fit goes from the right, the optimizer first."""

    def within(width: int) -> str:
        return step_line(LOG, step=13, total=26, first=0, seconds=94, width=width)

    assert within(80) == within(len(SHORT)) == SHORT
    assert within(len(SHORT) - 1) == "step 13/26  50% | loss 1.224  margin 0.410  acc 0.62"
    assert within(10) == "step 13/26  50%"


def test_other_trainers_show_what_they_log():
    sft = {"loss": 2.5, "learning_rate": 1e-5, "mean_token_accuracy": 0.553, "entropy": 1.832, "num_tokens": 512}
    line = step_line(sft, step=9, total=1000, first=0, seconds=9)
    assert line == "step    9/1000   0% | loss 2.500 | lr 1.0e-05 | token acc 0.55  entropy 1.83 | 0:09, 16:31 left"


def test_evaluation_and_end_in_one_line():
    logs = {"eval_loss": 1.177, "eval_rewards/margins": -0.2, "eval_rewards/accuracies": 0.875, "eval_runtime": 65.4}
    assert evaluation_line(logs, step=13) == "eval at step 13: loss 1.177  margin -0.200  acc 0.88 | took 1:05"
    assert summary_line({"train_runtime": 100.0}, steps=13) == "trained 13 steps in 1:40 (7.7 s a step)"
    assert summary_line({"train_runtime": 0.5}, steps=0) == "trained 0 steps in 0:00"


def trainer(folder: Path, **changes) -> SimPOTrainer:
    """Six steps of two pairs, logged every two, evaluated and saved every three."""
    settings = {
        "use_cpu": True,
        "packing": False,
        "per_device_train_batch_size": 2,
        "max_steps": 6,
        "logging_steps": 2,
        "eval_strategy": "steps",
        "eval_steps": 3,
        "save_steps": 3,
        "report_to": "none",
        "max_length": 96,
        "max_prompt_length": 64,
    }
    tokenizer, rows = gemma_tokenizer(), Dataset.from_list(preference_rows(12))
    return SimPOTrainer(
        gemma2(len(tokenizer)),
        SimPOConfig(str(folder), **{**settings, **changes}),
        train_dataset=rows,
        eval_dataset=rows.select(range(4)),
        processing_class=tokenizer,
    )


def history(folder: Path) -> list[Mapping]:
    return json.loads((folder / "trainer_state.json").read_text())["log_history"]


def test_a_run_in_a_log_is_lines_and_the_record_is_whole(tmp_path, capfd):
    run = trainer(tmp_path, save_strategy="no")
    show_progress(run)
    capfd.readouterr()
    run.train()
    run.save_state()
    out, err = capfd.readouterr()
    assert "\r" not in out + err
    lines = [line for line in out.splitlines() if line]
    assert [line.split(" | ")[0].split(": ")[0] for line in lines] == [
        "step 2/6  33%",
        "eval at step 3",
        "step 4/6  66%",
        "step 6/6 100%",
        "eval at step 6",
        lines[-1],
    ]
    assert lines[-1].startswith("trained 6 steps in 0:")

    logs = [entry for entry in history(tmp_path) if "loss" in entry]
    for line, entry in zip([line for line in lines if line.startswith("step")], logs, strict=True):
        assert f"loss {entry['loss']:.3f}  margin {entry['rewards/margins']:.3f}" in line
        assert {"logps/chosen", "logits/rejected", "throughput/padding_avoided", "grad_norm", "epoch"} <= set(entry)
    (summary,) = (entry for entry in history(tmp_path) if "train_runtime" in entry)
    assert "total_flos" in summary
    assert sum("eval_rewards/chosen" in entry for entry in history(tmp_path)) == 2


class TenSecondSteps(TrainerCallback):
    """Time that passes only when a step ends."""

    time = 500.0

    def on_step_end(self, *_, **__) -> None:
        self.time += 10


def test_a_resumed_run_counts_its_own_steps(tmp_path, capfd):
    """From step 3 on: step 4 took 10 seconds, so 5 and 6 take 20."""
    settings = {"logging_steps": 1, "eval_strategy": "no"}
    trainer(tmp_path, **settings).train()
    run, passing = trainer(tmp_path, **settings), TenSecondSteps()
    run.remove_callback(ProgressCallback)
    run.add_callback(passing)
    run.add_callback(Progress(bar=False, now=lambda: passing.time))
    capfd.readouterr()
    run.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    lines = [line for line in capfd.readouterr().out.splitlines() if line]
    assert [line.split(" | ")[-1] for line in lines[:3]] == ["0:10, 0:20 left", "0:20, 0:10 left", "0:30"]
    assert [line.split(" | ")[0] for line in lines[:3]] == ["step 4/6  66%", "step 5/6  83%", "step 6/6 100%"]
    assert lines[3].startswith("trained 3 steps in 0:")


def test_only_the_main_process_shows_anything(tmp_path, capfd):
    arguments, control = SimPOConfig(str(tmp_path), use_cpu=True, report_to="none"), TrainerControl()
    state = TrainerState(is_world_process_zero=False, is_local_process_zero=True, max_steps=2, global_step=1)
    for bar in (True, False):
        progress = Progress(bar=bar)
        progress.on_train_begin(arguments, state, control)
        progress.on_step_end(arguments, state, control)
        progress.on_prediction_step(arguments, state, control, eval_dataloader=[1])
        progress.on_log(arguments, state, control, logs=LOG)
        progress.on_evaluate(arguments, state, control)
        progress.on_train_end(arguments, state, control)
    assert "".join(capfd.readouterr()) == ""


CODE = """
import sys
from pathlib import Path
import test_progress
run = test_progress.trainer(Path("out"), disable_tqdm=sys.argv[1] == "lines")
test_progress.show_progress(run)
print("BEGIN", flush=True)
run.train()
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["bar", "lines"])
def test_a_terminal_has_a_bar_below_the_lines_unless_told_otherwise(tmp_path, mode):
    paths = [ROOT / "src", ROOT / "tests", ROOT / "tests/run/callbacks"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    process = subprocess.Popen(
        [sys.executable, "-c", CODE, mode],
        cwd=tmp_path,
        env=environment | {"OMP_NUM_THREADS": "1"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    text = read_all(ours)
    assert process.wait(120) == 0, text
    shown = text.split("BEGIN", 1)[1]
    assert "step 2/6  33% | loss" in shown and "eval at step 3: loss" in shown
    assert (" left" in shown) == (mode == "lines")
    assert ("step/s" in shown or "s/step" in shown) == (mode == "bar")
    if mode == "bar":
        drawn = [piece for piece in shown.replace("\n", "\r").split("\r") if "tok/s, " in piece]
        assert any("6/6" in piece and "GiB, loss" in piece for piece in drawn)


def read_all(terminal: int) -> str:
    """Everything until the other side is closed, which Linux tells by an error."""
    received = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:
            piece = b""
        if not piece:
            os.close(terminal)
            return received.decode(errors="replace")
        received += piece
