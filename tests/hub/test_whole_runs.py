"""Every kind of recipe with everything switched on, trained and pushed to a Hub by the commands that people give."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny import TEMPLATE, preference_rows, save_gemma2, write_jsonl

from alignment.scoring import load_scorer

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / "recipes/quickstart"
EVERYTHING: dict[str, Any] = {
    "chat_template": str(TEMPLATE),
    "use_cpu": True,
    "learning_rate": 1e-3,
    "max_steps": 4,
    "global_batch_size": 4,
    "logging_steps": 1,
    "eval_strategy": "steps",
    "eval_steps": 2,
    "save_strategy": "steps",
    "save_steps": 2,
    "load_best_model_at_end": True,
    "metric_for_best_model": "loss",
    "max_length": 96,
    "report_to": ["tensorboard", "trackio"],
    "run_name": "everything",
    "sample_evaluation": {
        "prompts": "held-out.jsonl",
        "control_prompts": "control.jsonl",
        "rule": "house_style",
        "samples_per_prompt": 2,
        "max_new_tokens": 4,
        "show": 1,
    },
}
KINDS: dict[str, dict[str, Any]] = {
    "simpo": {"method": "simpo", "max_prompt_length": 64, "bf16": True},
    "lora": {"method": "simpo", "max_prompt_length": 64, "bf16": True, "use_peft": True, "lora_r": 4},
    "orpo": {"method": "orpo", "max_prompt_length": 64, "packing": False},
    "dpo": {"method": "dpo", "precompute_ref_log_probs": True},
    "sft": {"method": "sft"},
}
SCORES: dict[str, Any] = {"method": "reward", "sample_evaluation": None, "use_peft": True, "lora_r": 4, "bf16": True}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, a folder of pairs and prompts, all told by absolute paths."""
    folder = tmp_path_factory.mktemp("parts")
    save_gemma2(folder / "model")
    rows = preference_rows(20)
    write_jsonl(folder / "pairs/train.jsonl", rows[:16])
    write_jsonl(folder / "pairs/test.jsonl", rows[16:])
    for name, file in (("held-out", "heldout"), ("control", "control")):
        lines = (QUICKSTART / f"prompts/{file}.jsonl").read_text().splitlines()[:2]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def write_recipe(folder: Path, parts: Path, kind: str) -> Path:
    places = {"model_name_or_path": str(parts / "model"), "output_dir": str(folder / "out")}
    settings = {**EVERYTHING, **{**KINDS, "reward": SCORES}[kind], **places}
    for name in ("prompts", "control_prompts") if settings["sample_evaluation"] else ():
        settings["sample_evaluation"] = {
            **settings["sample_evaluation"],
            name: str(parts / EVERYTHING["sample_evaluation"][name]),
        }
    if kind == "orpo":
        source = {"id": str(parts / "pairs"), "split": "train"}
        settings["dataset_mixture"] = {"datasets": [source], "test_split_size": 4}
    else:
        settings |= {"dataset_name": str(parts / "pairs"), "dataset_test_split": "test"}
    path = folder / f"{kind}.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_with_everything_on_is_trained_answers_and_is_pushed_twice(commands, hub, parts, tmp_path, kind):
    recipe = write_recipe(tmp_path, parts, kind)
    trained = commands.run(ROOT / "scripts/train.py", "--config", recipe, cwd=tmp_path)
    assert trained.code == 0, trained.err
    out = tmp_path / "out"
    for name in ("before_after.json", "trainer_state.json", "run_manifest.json", "all_results.json"):
        assert str(tmp_path.parent) not in (out / name).read_text(), f"{name} holds a path of this machine"
    assert json.loads((out / "before_after.json").read_text())["settings"]["prompts"] == "held-out.jsonl"
    assert json.loads((out / "trainer_state.json").read_text())["best_model_checkpoint"].startswith("out/checkpoint-")

    asked = commands.run(
        ROOT / "scripts/generate.py", "--config", recipe, "--prompt", "Why?", "--max_new_tokens", "3", cwd=tmp_path
    )
    assert asked.code == 0, asked.err

    push = (ROOT / "scripts/push_to_hub.py", "--config", recipe, "--hub_model_id", f"me/{kind}")
    first = commands.run(*push, cwd=tmp_path)
    assert first.code == 0, first.err
    assert f"Published: me/{kind}" in first.out
    second = commands.run(*push, cwd=tmp_path)
    assert second.code == 0, second.err
    assert f"Already published: me/{kind}" in second.out
    files = hub.store.repos["model", f"me/{kind}"].at("main").files
    assert {"before_after.json", "trainer_state.json", "run_manifest.json", "model.safetensors"} <= set(files)


def test_a_reward_model_is_trained_scores_and_is_pushed_twice(commands, hub, parts, tmp_path):
    recipe = write_recipe(tmp_path, parts, "reward")
    trained = commands.run(ROOT / "scripts/train.py", "--config", recipe, cwd=tmp_path)
    assert trained.code == 0, trained.err
    question = {"role": "user", "content": "Why does bread rise?"}
    answers = [{"role": "assistant", "content": content} for content in ("Yeast makes gas.", "No.")]
    scores = load_scorer(tmp_path / "out").score([[question, answer] for answer in answers])
    assert len({*scores}) == 2
    card = (tmp_path / "out/README.md").read_text()
    assert "pipeline_tag: text-classification" in card and "AutoModelForSequenceClassification" in card
    assert "pipeline(" not in card and "share of pairs ranked rightly" in card

    push = (ROOT / "scripts/push_to_hub.py", "--config", recipe, "--hub_model_id", "me/reward")
    for said in ("Published: me/reward", "Already published: me/reward"):
        done = commands.run(*push, cwd=tmp_path)
        assert done.code == 0 and said in done.out, done.err
    files = hub.store.repos["model", "me/reward"].at("main").files
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= set(files)
    assert "generation_config.json" not in files


def test_a_reward_model_is_not_asked_for_answers(commands, parts, tmp_path):
    recipe = write_recipe(tmp_path, parts, "reward")
    asked = {"samples_per_prompt": 1, "prompts": str(parts / "held-out.jsonl"), "rule": "house_style"}
    told = commands.run(
        ROOT / "scripts/train.py", "--config", recipe, f"--sample_evaluation={json.dumps(asked)}", cwd=tmp_path
    )
    assert told.code == 2 and "sample_evaluation needs a model that answers, and reward trains one that" in told.err
