"""The life of a recipe in small: train under ZeRO-3, die, resume, save, reload, answer, publish.

Everything runs through the programs that the real run uses: the launcher, the shipped zero3_cpu configuration, the
scripts, the Hub client. Only the model is small, the rows are few and the Hub is on this machine.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from alignment.files import shipped
from alignment.methods import METHODS
from alignment.recipe import ModelArguments, load_recipe
from alignment.rehearsal.local_hub import HubServer
from alignment.rehearsal.miniature import build_miniature
from alignment.rehearsal.processes import Finished, running
from alignment.rehearsal.rows import Rows, rehearsal_rows, texts_of, write_rows
from alignment.rehearsal.shrunk import REPOSITORY, SAVE_EVERY, STEPS, shrunk_settings
from alignment.rehearsal.stages import StageFailed, Stages

CONFIG = shipped("configs") / "accelerate/zero3_cpu.yaml"
TIMEOUT = 900.0
"""Seconds after which a process is taken for hung; DeepSpeed's first start compiles for a minute or more."""

ENVIRONMENT = {
    "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "WANDB_MODE": "offline",
}

NOT_PROVEN = (
    "that the model fits: memory depends on its real size, the lengths of the rows and the number of GPUs",
    "speed, NCCL, and every kernel that needs a GPU (flash attention, fused or 8-bit optimizers)",
    "that the real weights, tokenizer and data can be downloaded, or that the Hub account may write",
    "the result: a few steps of a small random model say nothing of what the real one learns",
)


def rehearse(source: str, overrides: list[str], *, keep: bool = False) -> int:
    """Rehearse a recipe; returns 0 when every stage passed, else 1.

    Raises:
        UserError: the recipe itself, or local data of it, is at fault.
    """
    console = Console(highlight=False, soft_wrap=True)
    recipe = load_recipe(source, overrides)
    scratch = Path(tempfile.mkdtemp(prefix="rehearsal-"))
    console.print(f"Rehearsing [bold]{recipe.name}[/bold] ({METHODS[recipe.method].title}) in {scratch}")
    rows = rehearsal_rows(recipe.data, kind=METHODS[recipe.method].data)
    stages = Stages(console)
    try:
        with stages.stage("small model and rows") as stage:
            facts = build_miniature(recipe.model, texts_of(rows), scratch / "model")
            data = write_rows(rows, scratch / "data")
            settings, told = shrunk_settings(
                recipe, model=scratch / "model", data=Path(str(data.dataset_name)), output=scratch / "out"
            )
            path = scratch / "rehearsal.yaml"
            path.write_text(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
            stage.saw = facts[-1]
        console.print("".join(f"    {fact}\n" for fact in (rows.origin, *facts, *told)), end="")
        with HubServer() as hub:
            _life(stages, settings, path, scratch, rows, hub)
    except StageFailed as failure:
        console.print(stages.table())
        console.print(f"\n[red]{failure}[/red]\nEverything is kept in {scratch}.", markup=True)
        return 1
    console.print(stages.table())
    console.print("A rehearsal cannot prove\n" + "".join(f"  - {line}\n" for line in NOT_PROVEN), end="")
    if keep:
        console.print(f"Everything is kept in {scratch}.")
    else:
        shutil.rmtree(scratch)
    return 0


def _life(stages: Stages, settings: Mapping[str, Any], recipe: Path, scratch: Path, rows: Rows, hub: HubServer) -> None:
    out = scratch / "out"
    offline = {**ENVIRONMENT, "WANDB_DIR": str(scratch), "TRACKIO_DIR": str(scratch / "trackio")}
    online = offline | {
        "HF_HUB_OFFLINE": "0",
        "HF_ENDPOINT": hub.url,
        "HF_HUB_DISABLE_XET": "1",
        "HF_TOKEN": "hf_test_me_write",
        "HF_HOME": str(scratch / "hub-home"),
    }
    environment = online if settings.get("push_to_hub") else offline
    train: list[str | Path] = [
        sys.executable,
        "-m",
        "alignment.run.launch",
        "--config_file",
        CONFIG,
        "--main_process_port",
        "0",
    ]
    train += ["--module", "alignment.cli", "train", recipe]

    with stages.stage("train on two processes, ZeRO-3; kill one") as stage:
        with running(train, scratch / "train.log", environment) as job:
            job.wait_for(out / f"checkpoint-{SAVE_EVERY}/trainer_state.json", timeout=TIMEOUT)
            job.ranks()[-1].send_signal(signal.SIGKILL)
            done = job.finish(timeout=60)
            orphans = job.descendants()
        assert done.code == 128 + signal.SIGKILL, f"the launcher ended with {done.code}:\n{_tail(done)}"
        assert not orphans, f"processes were left over: {orphans}"
        stage.saw = f"checkpoint-{SAVE_EVERY} written; rank 1 killed; the job ended with exit code {done.code}"

    with stages.stage("the same command again: resume, evaluate, save") as stage:
        with running(train, scratch / "resume.log", environment) as job:
            done = job.finish(timeout=TIMEOUT)
        assert done.code == 0, f"exit code {done.code}:\n{_tail(done)}"
        assert f"Continuing from {out}/checkpoint-" in done.output, "it did not continue from the checkpoint"
        stage.saw = _check_training(out, settings)

    with stages.stage("reload and answer") as stage:
        stage.saw = (_score if METHODS[settings["method"]].reward_model else _answer)(out, rows)

    with stages.stage("model card") as stage:
        from huggingface_hub import ModelCard

        card = ModelCard.load(out / "README.md")
        assert card.data.library_name == "transformers" and card.data.tags, "the card's metadata is not complete"
        stage.saw = f"tags {', '.join(card.data.tags)}; {len(card.text.split())} words"

    with stages.stage("push to a Hub over HTTP, push again, download") as stage:
        stage.saw = _publish(recipe, out, scratch, hub, online, branch=settings.get("hub_revision") or "main")


def _check_training(out: Path, settings: Mapping[str, Any]) -> str:
    """Every step logged once, evaluation logged, answers compared where the recipe asks for it, stage 3 active."""
    history = json.loads((out / "trainer_state.json").read_text())["log_history"]
    losses = {entry["step"]: entry["loss"] for entry in history if "loss" in entry}
    assert sorted(losses) == list(range(1, STEPS + 1)), f"logged steps {sorted(losses)} instead of 1 to {STEPS}"
    assert any("eval_loss" in entry for entry in history), "no evaluation was logged"
    distributed = json.loads((out / "run_manifest.json").read_text())["distributed"]
    assert distributed["zero_stage"] == 3 and distributed["world_size"] == 2, f"it ran as {distributed}"
    sampled = settings.get("sample_evaluation") is not None
    assert sampled == (out / "before_after.json").is_file(), "answers before and after training were not compared"
    return (
        f"ZeRO-3 on 2 processes, {STEPS} steps, loss {losses[1]:.3f} -> {losses[STEPS]:.3f}, evaluated"
        + ", answers compared" * sampled
    )


def _answer(out: Path, rows: Rows) -> str:
    from alignment.generation import Request, load_engine
    from alignment.recipe.generation_settings import GenerationSettings

    settings = GenerationSettings(engine="transformers", temperature=0.0, max_new_tokens=8)
    request = Request(id="question", messages=[{"role": "user", "content": _question(rows)}], seed=0)
    engine = load_engine(settings, ModelArguments(model_name_or_path=str(out)))
    ((_, answer),) = engine.answers([request])
    return f"answers with {len(answer.text)} characters of nonsense, as a random model must"


def _score(out: Path, rows: Rows) -> str:
    from alignment.scoring import load_scorer

    question = {"role": "user", "content": _question(rows)}
    answers = [{"role": "assistant", "content": content} for content in ("Yes.", "No, it is not.")]
    scores = load_scorer(out).score([[question, answer] for answer in answers])
    return f"scores two answers with {scores[0]:.3g} and {scores[1]:.3g}"


def _question(rows: Rows) -> str:
    row: dict[str, Any] = rows.test[0]
    messages = row.get("messages") or row.get("chosen") or row["prompt"]
    if isinstance(row.get("prompt"), str):
        return row["prompt"]
    user = [message["content"] for message in (row.get("prompt") or messages) if message["role"] == "user"]
    return user[0]


def _publish(
    recipe: Path, out: Path, scratch: Path, hub: HubServer, environment: Mapping[str, str], *, branch: str
) -> str:
    pulled = scratch / "pulled"
    push: list[str | Path] = [sys.executable, "-m", "alignment.cli", "push", recipe]
    fetch = (
        f"from huggingface_hub import snapshot_download as d; "
        f"d({REPOSITORY!r}, revision={branch!r}, local_dir={str(pulled)!r})"
    )
    for command, log in ((push, "push.log"), (push, "again.log"), ([sys.executable, "-c", fetch], "pull.log")):
        with running(command, scratch / log, environment) as job:
            done = job.finish(timeout=TIMEOUT)
        assert done.code == 0, f"exit code {done.code}:\n{_tail(done)}"
        assert log != "again.log" or "Already published" in done.output, f"it was sent again:\n{_tail(done)}"
    commit = hub.store.repos["model", REPOSITORY].at(branch)
    assert commit is not None, f"{REPOSITORY} has no branch {branch}"
    sent, received = (
        hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest() for folder in (out, pulled)
    )
    assert sent == received, "the downloaded weights are not those that were sent"
    return f"{len(commit.files)} files in {REPOSITORY}; the weights came back byte for byte"


def _tail(done: Finished, lines: int = 25) -> str:
    return "\n".join(done.output.strip().splitlines()[-lines:])
