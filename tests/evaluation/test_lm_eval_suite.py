"""Tasks of lm-eval on local JSON data: the numbers, one BOS, the chat template, and what is not asked again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from tiny import save_gemma2, write_jsonl

from alignment.errors import SetupError
from alignment.evaluation.evaluate import evaluate
from alignment.evaluation.lm_eval_suite import metrics_of
from alignment.recipe import Recipe, load_recipe

huggingface = pytest.importorskip("lm_eval.models.huggingface", exc_type=ImportError)

QUESTIONS = [{"question": f"What is stone {at}?", "choices": ["red", "blue"], "answer": at % 2} for at in range(6)]


@pytest.fixture
def run(tmp_path: Path) -> Recipe:
    save_gemma2(tmp_path / "model")
    task = {
        "task": "stones",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(write_jsonl(tmp_path / "stones.jsonl", QUESTIONS))}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{answer}}",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 1.0},
    }
    (tmp_path / "stones.yaml").write_text(yaml.safe_dump(task))
    settings = {
        "method": "simpo",
        "model_name_or_path": str(tmp_path / "model"),
        "dataset_name": "princeton-nlp/gemma2-ultrafeedback-armorm",
        "output_dir": str(tmp_path / "out"),
        "evaluation": {"lm_eval": {"tasks": [str(tmp_path / "stones.yaml")]}},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(settings))
    return load_recipe(tmp_path / "recipe.yaml")


def likelier(folder: Path) -> list[bool]:
    """Whether the model gives the right choice the higher log-probability, one sequence at a time."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()

    def logp(question: str, choice: str) -> float:
        asked = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, tokenize=False
        )
        prompt, whole = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (asked, asked + choice))
        with torch.no_grad():
            logps = model(torch.tensor([whole])).logits[0, :-1].log_softmax(-1)
        return sum(logps[at - 1, whole[at]].item() for at in range(len(prompt), len(whole)))

    found = [[logp(row["question"], choice) for choice in row["choices"]] for row in QUESTIONS]
    return [scores[row["answer"]] > scores[1 - row["answer"]] for row, scores in zip(QUESTIONS, found, strict=True)]


def test_a_local_task_offline(run: Recipe, tmp_path: Path, monkeypatch):
    seen: list[list[int]] = []
    plain = huggingface.HFLM._model_call

    def noted(self, inputs, *others, **named):
        seen.extend(inputs.tolist())
        return plain(self, inputs, *others, **named)

    monkeypatch.setattr(huggingface.HFLM, "_model_call", noted)
    evaluate(run, ["lm_eval"], compare=["base"])
    (outcome,) = json.loads((tmp_path / "out/evaluation/results.json").read_text())["outcomes"]
    (metric,) = outcome["metrics"]
    right = likelier(tmp_path / "model")
    assert (metric["name"], metric["n"]) == ("stones acc", len(QUESTIONS))
    assert metric["value"] == pytest.approx(sum(right) / len(right))
    assert outcome["versions"]["lm_eval"]
    assert seen and all(ids[0] == 2 and ids.count(2) == 1 for ids in seen), "one BOS at the start"
    asked = len(seen)
    evaluate(run, ["lm_eval"], compare=["base"])
    assert len(seen) == asked


def test_a_file_that_is_not_there_is_told(run: Recipe):
    wrong = load_recipe(run.path, ["--evaluation.lm_eval.tasks", '["no/such.yaml"]'])
    with pytest.raises(SetupError, match="does not exist"):
        evaluate(wrong, ["lm_eval"], compare=["base"])


def test_intervals_are_those_of_the_standard_error_and_groups_have_their_own_numbers():
    record = {
        "results": {
            "mmlu": {
                "acc,none": 0.5,
                "acc_stderr,none": 0.1,
                "alias": "mmlu",
                "f1,strict": 0.25,
                "f1_stderr,strict": "N/A",
            },
            "mmlu_law": {"acc,none": 0.1},
        },
        "n": {"mmlu_law": 30, "mmlu_art": 20},
    }
    first, second = metrics_of("mmlu", record)
    assert (first.name, first.value, first.n, first.headline) == ("mmlu acc", 0.5, 50, True)
    assert first.ci == pytest.approx((0.5 - 0.1959964, 0.5 + 0.1959964))
    assert (second.name, second.ci, second.headline) == ("mmlu f1 (strict)", None, False)
