"""Whole runs through the entry points, as a user starts them: every method, kill and resume, errors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from safetensors import safe_open
from tiny import preference_rows, save_gemma2, write_jsonl
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT / "src")}


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> dict[str, str]:
    """A tiny Gemma-2 and a data set with 24 training and 6 test pairs."""
    folder = tmp_path_factory.mktemp("parts")
    rows = preference_rows(30)
    write_jsonl(folder / "data/train.jsonl", rows[:24])
    write_jsonl(folder / "data/test.jsonl", rows[24:])
    return {"model": str(save_gemma2(folder / "model")), "data": str(folder / "data")}


def recipe(folder: Path, parts: dict[str, str], method: str, **changes) -> Path:
    settings = {
        "method": method,
        "model_name_or_path": parts["model"],
        "dataset_name": parts["data"],
        "dataset_train_split": "train",
        "dataset_test_split": "test",
        "output_dir": str(folder / "out"),
        "use_cpu": True,
        "learning_rate": 1e-3,
        "num_train_epochs": 1,
        "global_batch_size": 4,
        "per_device_train_batch_size": 2,
        "logging_steps": 1,
        "save_strategy": "steps",
        "save_steps": 2,
        "eval_strategy": "steps",
        "eval_steps": 3,
        "max_length": 96,
        "report_to": "none",
        **({"max_prompt_length": 64} if method in ("simpo", "orpo") else {}),
        **changes,
    }
    path = folder / f"{method}.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in settings.items() if value is not None}))
    return path


def start(method: str, path: Path, *overrides: str) -> subprocess.Popen:
    command = [sys.executable, str(ROOT / f"scripts/{method}.py"), "--config", str(path), *overrides]
    return subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=path.parent
    )


def finish(process: subprocess.Popen, *, code: int = 0) -> tuple[str, str]:
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, err[-4000:]
    return out, err


def log(folder: Path) -> list[dict]:
    return json.loads((folder / "trainer_state.json").read_text())["log_history"]


def losses(folder: Path) -> list[float]:
    return [entry["loss"] for entry in log(folder) if "loss" in entry]


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    with safe_open(folder / "model.safetensors", "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@pytest.mark.parametrize("method", ["simpo", "orpo", "dpo", "sft"])
def test_every_method_trains_to_a_folder_that_answers(tmp_path, parts, method):
    finish(start(method, recipe(tmp_path, parts, method)))
    out = tmp_path / "out"
    for name in ("config.json", "generation_config.json", "tokenizer.json", "README.md", "all_results.json"):
        assert (out / name).stat().st_size > 0, name
    assert (out / "training_curves.png").read_bytes()[:4] == b"\x89PNG"
    assert len(losses(out)) == 6
    evaluated = [entry["step"] for entry in log(out) if "eval_loss" in entry]
    assert evaluated and len(evaluated) == len(set(evaluated)), "no step is evaluated twice"
    if method != "sft":
        assert all("rewards/accuracies" in entry for entry in log(out) if "loss" in entry)
    manifest = json.loads((out / "run_manifest.json").read_text())
    assert manifest["batch"]["global_batch_size"] == 4
    assert manifest["distributed"]["world_size"] == 1
    assert manifest["attention_backend"] == ("eager" if method == "sft" else "segments")
    assert ("packed rows)" in (out / "README.md").read_text()) == (method in ("simpo", "orpo"))

    model, tokenizer = AutoModelForCausalLM.from_pretrained(out), AutoTokenizer.from_pretrained(out)
    assert model.config.use_cache is True
    assert model.generation_config.eos_token_id == [
        tokenizer.convert_tokens_to_ids("<eos>"),
        tokenizer.convert_tokens_to_ids("<end_of_turn>"),
    ]
    assert tokenizer.chat_template == AutoTokenizer.from_pretrained(parts["model"]).chat_template
    assert "lm_head.weight" not in tensors(out), "tied weights are saved once"
    before = AutoModelForCausalLM.from_pretrained(parts["model"])
    assert not torch.equal(before.model.embed_tokens.weight, model.model.embed_tokens.weight), "it has learned"


def test_the_evaluation_on_record_is_that_of_the_weights_on_disk(tmp_path, parts):
    """The highest loss is declared the best, which is the first evaluation's."""
    best = {"load_best_model_at_end": True, "save_strategy": "best", "metric_for_best_model": "loss"}
    best["greater_is_better"] = True
    path = recipe(tmp_path, parts, "simpo", **best, eval_steps=1, max_steps=3, warmup_steps=0)
    finish(start("simpo", path))
    evaluated = [entry["eval_loss"] for entry in log(tmp_path / "out") if "eval_loss" in entry]
    recorded = json.loads((tmp_path / "out/eval_results.json").read_text())["eval_loss"]
    assert evaluated[0] > 1.01 * evaluated[2] and recorded == pytest.approx(evaluated[0])


def test_a_killed_run_goes_on_with_the_same_losses(tmp_path, parts):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    slow = {"num_train_epochs": 4, "lr_scheduler_type": "cosine", "eval_strategy": "no"}
    finish(start("simpo", recipe(whole, parts, "simpo", **slow)))

    path = recipe(killed, parts, "simpo", **slow)
    process = start("simpo", path)
    deadline = time.monotonic() + 120
    while not (killed / "out/checkpoint-6/trainer_state.json").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    assert not (killed / "out/run_manifest.json").exists()

    out, _ = finish(start("simpo", path))
    assert "Continuing from" in out
    assert losses(killed / "out") == losses(whole / "out")
    mine, theirs = tensors(killed / "out"), tensors(whole / "out")
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)

    out, _ = finish(start("simpo", path))
    assert "finished run" in out


KILLED_AT = """
import os, runpy, signal, sys

name, real = sys.argv[1], os.replace

def replace(source, target, **options):
    if os.path.basename(target) == name:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(source, target, **options)

os.replace = replace
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a script that is killed in the moment before a file of this name takes its place."""


def test_a_run_killed_at_a_single_write_ends_as_one_that_was_not(tmp_path, parts):
    settings = {"eval_strategy": "no", "save_total_limit": 1}
    whole = tmp_path / "whole"
    whole.mkdir()
    finish(start("simpo", recipe(whole, parts, "simpo", **settings)))
    for name in ("sealed.json", "all_results.json", "README.md"):
        folder = tmp_path / name
        folder.mkdir()
        path = recipe(folder, parts, "simpo", **settings)
        command = [sys.executable, "-c", KILLED_AT, name, str(ROOT / "scripts/simpo.py"), "--config", str(path)]
        killed = subprocess.run(command, env=ENVIRONMENT, capture_output=True, cwd=folder, check=False, timeout=300)
        assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
        out, _ = finish(start("simpo", path))
        assert ("was not written to its end; it is set aside" in out) == (name == "sealed.json")
        assert losses(folder / "out") == losses(whole / "out"), name
        assert (folder / "out/README.md").read_text().rstrip().endswith("-->"), "a whole card"


def test_lora_is_merged_and_its_adapter_kept(tmp_path, parts):
    adapters = {"use_peft": True, "lora_r": 4, "lora_alpha": 8, "lora_target_modules": "all-linear", "bf16": True}
    finish(start("simpo", recipe(tmp_path, parts, "simpo", learning_rate=1e-2, **adapters)))
    from peft import PeftModel

    out = tmp_path / "out"
    merged = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32)
    base = AutoModelForCausalLM.from_pretrained(parts["model"], dtype=torch.float32)
    ids = torch.arange(6, 26)[None]
    plain = base(ids).logits
    adapted = PeftModel.from_pretrained(base, out / "adapter")(ids).logits
    assert (adapted - plain).abs().max() > 0.05
    assert torch.allclose(merged(ids).logits, adapted, atol=0.05), "bf16 weights"
    assert {tensor.dtype for tensor in tensors(out).values()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("overrides", "fragments"),
    [
        (["--gama_beta_ratio", "0.5"], ["gama_beta_ratio", "did you mean gamma_beta_ratio"]),
        (["--beta", "-1", "--max_prompt_length", "96"], ["beta", "max_prompt_length", "must be below max_length"]),
        (["--dataset_name", "no/such/file.jsonl"], ["no/such/file.jsonl"]),
        (["--model_name_or_path", "no_such_folder"], ["no_such_folder"]),
        (["--attn_implementation", "sdpa"], ["soft-cap", "eager"]),
        (["--global_batch_size", "5"], ["global_batch_size", "5"]),
    ],
)
def test_a_users_mistake_is_one_message(tmp_path, parts, overrides, fragments):
    _, err = finish(start("simpo", recipe(tmp_path, parts, "simpo"), *overrides), code=2)
    assert "Traceback" not in err
    for fragment in fragments:
        assert fragment in err


def test_a_bad_row_is_named_before_the_model_is_loaded(tmp_path, parts):
    rows = preference_rows(8)
    rows[5]["rejected"][-1]["content"] = "  "
    data = write_jsonl(tmp_path / "bad.jsonl", rows)
    changes = {"dataset_name": str(data), "dataset_test_split": None, "eval_strategy": "no", "eval_steps": None}
    _, err = finish(start("simpo", recipe(tmp_path, parts, "simpo", **changes)), code=2)
    assert "row 5" in err
    assert "empty" in err
    finish(start("simpo", recipe(tmp_path, parts, "simpo", **changes), "--on_bad_row", "drop"))


def test_generate_answers_from_the_trained_folder(tmp_path, parts):
    path = recipe(tmp_path, parts, "simpo", max_steps=1, warmup_steps=0, eval_strategy="no", eval_steps=None)
    command = [sys.executable, str(ROOT / "scripts/generate.py"), "--config", str(path), "--prompt", "Why, x=1?"]
    early = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert early.returncode == 2
    assert "holds no trained model; run `make train" in early.stderr
    finish(start("simpo", path))
    asked = [*command, "--max_new_tokens", "5"]
    answers = {
        subprocess.run(asked, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=True).stdout
        for _ in range(2)
    }
    assert len(answers) == 1, "greedy by default"


def test_what_the_final_save_needs_is_tried_before_the_first_step(tmp_path, parts):
    """A template that renders every row and refuses any conversation that could show where an answer ends."""
    rows = [{**row, "chosen": row["chosen"][-1:], "rejected": row["rejected"][-1:]} for row in preference_rows(8)]
    for row in rows:
        row["prompt"] = [{"role": "user", "content": f"Please: {row['prompt']}"}]
    data = write_jsonl(tmp_path / "rows.jsonl", rows)
    template = (
        "{% if messages[-1].role == 'user' and 'Please' not in messages[-1].content %}"
        "{{ raise_exception('be polite') }}{% endif %}{{ bos_token }}"
        "{% for m in messages %}<start_of_turn>{{ m.role }}\n{{ m.content }}<end_of_turn>\n{% endfor %}"
        "{% if add_generation_prompt %}<start_of_turn>assistant\n{% endif %}"
    )
    changes = {"dataset_train_split": None, "dataset_test_split": None, "eval_strategy": "no", "eval_steps": None}
    path = recipe(tmp_path, parts, "simpo", dataset_name=str(data), chat_template=template, **changes)
    out, err = finish(start("simpo", path), code=2)
    assert "chat_template renders no question" in err
    assert "Traceback" not in err
    assert "step 1/" not in out + err
