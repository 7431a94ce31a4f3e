"""`make evaluate` on tiny models: numbers, resuming, refusals, and what the card says afterwards."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from finished import finished_run
from huggingface_hub import ModelCard
from tiny import preference_rows, save_gemma2, write_jsonl

from alignment.data import tokenize_preference
from alignment.errors import RecipeError, SetupError
from alignment.evaluation.evaluate import alone_in, evaluate
from alignment.evaluation.interval import wilson
from alignment.evaluation.reward_model import accuracies
from alignment.evaluation.subjects import find_subjects
from alignment.evaluation.suites import chosen_suites
from alignment.publish.plan import plan_publication
from alignment.recipe import Recipe, load_recipe
from alignment.report.card import build_card, renew_card

PREFERENCES = ["preferences"]
ROWS = preference_rows(7, seed=3)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A base model, a finished run and held-out pairs."""
    root = tmp_path_factory.mktemp("evaluated")
    save_gemma2(root / "base", seed=1)
    finished_run(root / "run")
    write_jsonl(root / "pairs/train.jsonl", preference_rows(4))
    write_jsonl(root / "pairs/test.jsonl", ROWS)
    return root


def recipe_in(place: Path, output: Path, **changes: object) -> Recipe:
    settings = {
        "method": "simpo",
        "model_name_or_path": str(place / "base"),
        "dataset_name": str(place / "pairs"),
        "max_length": 128,
        "max_prompt_length": 64,
        "output_dir": str(output),
        "evaluation": {"preferences": {"tokens_per_batch": 150}},
        **changes,
    }
    path = place / "recipe.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in settings.items() if value is not None}))
    return load_recipe(path)


@pytest.fixture
def run(place: Path, tmp_path: Path) -> Recipe:
    shutil.copytree(place / "run", tmp_path / "run")
    return recipe_in(place, tmp_path / "run")


def metrics_of(recipe: Recipe, model: str, suite: str = "preferences") -> dict:
    content = json.loads((Path(recipe.training["output_dir"]) / "evaluation/results.json").read_text())
    (found,) = [each for each in content["outcomes"] if (each["suite"], each["model"]) == (suite, model)]
    return {metric["name"]: metric for metric in found["metrics"]}


def plain_means(folder: str) -> list[tuple[float, float]]:
    """Mean log-probabilities of both completions of each pair, one sequence at a time."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    found = []
    for row in ROWS:
        ids = tokenize_preference(row, tokenizer, max_length=128, max_prompt_length=64)
        sides = []
        for side in (ids["chosen_ids"], ids["rejected_ids"]):
            tokens = torch.tensor([[*ids["prompt_ids"], *side]])
            with torch.no_grad():
                logps = model(tokens).logits[0, :-1].log_softmax(-1).gather(1, tokens[0, 1:, None])[:, 0]
            sides.append(logps[-len(side) :].mean().item())
        found.append(tuple(sides))
    return found


def test_preferences_are_those_of_one_sequence_at_a_time(run: Recipe):
    evaluate(run, PREFERENCES)
    for model, folder in (("base", run.model.model_name_or_path), ("trained", run.training["output_dir"])):
        means = plain_means(folder)
        metrics = metrics_of(run, model)
        right = sum(chosen > rejected for chosen, rejected in means) / len(means)
        assert metrics["accuracy"]["value"] == pytest.approx(right)
        assert metrics["accuracy"]["ci"] == pytest.approx(list(wilson(right, len(means))))
        margin = sum(chosen - rejected for chosen, rejected in means) / len(means)
        assert metrics["margin"]["value"] == pytest.approx(margin, abs=1e-4)
        assert metrics["accuracy"]["n"] == len(ROWS)


def test_a_killed_evaluation_goes_on_with_the_pairs_that_are_missing(run: Recipe, capsys):
    evaluate(run, PREFERENCES)
    before = metrics_of(run, "trained")
    items = Path(run.training["output_dir"]) / "evaluation/trained/preferences/items.jsonl"
    lines = items.read_text().splitlines(keepends=True)
    items.write_text("".join(lines[:4]) + lines[4][:20])
    capsys.readouterr()
    evaluate(run, PREFERENCES)
    assert f"Preferences, trained: {len(ROWS) - 4} pairs" in capsys.readouterr().out
    assert metrics_of(run, "trained") == before


def test_what_another_model_left_is_refused_and_set_aside_on_request(run: Recipe):
    evaluate(run, PREFERENCES)
    save_gemma2(Path(run.training["output_dir"]), seed=9)
    with pytest.raises(SetupError, match=r"model\.weights"):
        evaluate(run, PREFERENCES)
    before = metrics_of(run, "trained")
    evaluate(run, PREFERENCES, fresh=True)
    assert metrics_of(run, "trained")["margin"]["value"] != before["margin"]["value"]
    assert (Path(run.training["output_dir"]) / "evaluation/trained/preferences.1/items.jsonl").is_file()


def test_the_card_and_the_publication_show_what_was_measured(run: Recipe):
    folder = Path(run.training["output_dir"])
    assert "No public benchmark was run" in (folder / "README.md").read_text()
    evaluate(run, PREFERENCES)
    assert renew_card(folder)
    card = ModelCard.load(folder / "README.md")
    assert "### Held-out preferences" in card.text and "| accuracy |" in card.text
    assert "No public benchmark was run" not in card.text
    measured = metrics_of(run, "trained")["accuracy"]["value"]
    (result,) = [each for each in card.data.eval_results if each.task_name == "Held-out preferences"]
    assert result.metric_value == pytest.approx(measured)
    plan = plan_publication(folder, repository="me/tiny")
    assert "evaluation/results.json" in {file.name for file in plan.files}
    assert not any(file.name.endswith("items.jsonl") for file in plan.files)


def test_a_card_says_nothing_of_weights_that_are_no_longer_there(run: Recipe):
    folder = Path(run.training["output_dir"])
    evaluate(run, PREFERENCES)
    save_gemma2(folder, seed=9)
    assert "### Held-out preferences" not in build_card(folder).text


def test_a_card_edited_by_hand_is_kept(run: Recipe):
    card = Path(run.training["output_dir"]) / "README.md"
    card.write_text(card.read_text() + "\nMine.\n")
    evaluate(run, PREFERENCES)
    assert not renew_card(card.parent) and card.read_text().endswith("Mine.\n")


def test_several_models_side_by_side(run: Recipe, place: Path, tmp_path: Path, capsys):
    save_gemma2(tmp_path / "other", seed=4)
    evaluate(run, PREFERENCES, compare=("trained", str(tmp_path / "other")))
    said = capsys.readouterr().out
    assert "trained" in said and "other" in said
    content = json.loads((Path(run.training["output_dir"]) / "evaluation/results.json").read_text())
    assert len(content["outcomes"]) == 2 and "base" not in content["models"]


def test_a_folder_of_adapters_is_its_base_with_them(run: Recipe, place: Path, tmp_path: Path):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    adapted = get_peft_model(
        AutoModelForCausalLM.from_pretrained(place / "base"), LoraConfig(r=2, init_lora_weights=False)
    )
    adapted.save_pretrained(tmp_path / "adapters")
    adapted.merge_and_unload().save_pretrained(tmp_path / "merged")
    for file in (place / "base").glob("*token*"):
        shutil.copy(file, tmp_path / "merged")
    shutil.copy(place / "base/chat_template.jinja", tmp_path / "merged")
    names = [str(tmp_path / name) for name in ("adapters", "merged")]
    evaluate(run, PREFERENCES, compare=["base", *names])
    content = json.loads((Path(run.training["output_dir"]) / "evaluation/results.json").read_text())
    margins = [outcome["metrics"][1]["value"] for outcome in content["outcomes"]]
    assert margins[1] == pytest.approx(margins[2], abs=1e-4) and abs(margins[0] - margins[1]) > 1e-3
    assert len({identity["weights"] for identity in content["models"].values()}) == 3


def test_what_is_no_model_is_refused(run: Recipe, place: Path, tmp_path: Path):
    shutil.rmtree(run.training["output_dir"])
    with pytest.raises(SetupError, match="holds no trained model; run `make train RECIPE="):
        evaluate(run, PREFERENCES)
    for names in (("nowhere",), ("base", "base"), (str(place),)):
        with pytest.raises(SetupError):
            find_subjects(run, compare=names)


@pytest.mark.slow
def test_the_command_line_tells_a_fault_in_one_message(run: Recipe, place: Path):
    command = [sys.executable, "-m", "alignment.cli", "evaluate", str(place / "recipe.yaml"), "--suite", "preference"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "SUITE preference must be of preferences, reward_model" in done.stderr
    assert "did you mean preferences" in done.stderr


def test_the_suites_that_run(run: Recipe, place: Path, tmp_path: Path):
    assert chosen_suites(run, []) == ["preferences"]
    with pytest.raises(SetupError, match="SUITE is not said"):
        chosen_suites(recipe_in(place, tmp_path, evaluation=None), [])


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["--evaluation.preferences.max_row", "3"], "evaluation.preferences.max_row is not a key"),
        (["--evaluation.preferences.max_rows", "0"], "max_rows 0 must be at least 1"),
        (["--evaluation.preferences.revision", "main"], "revision main belongs to dataset"),
        (["--evaluation.suites", "preference"], "did you mean preferences"),
        (["--evaluation.reward_model.scorer", "x/y"], "evaluation.reward_model.dataset must be stated"),
        (
            ["--evaluation.reward_model.scorer", "x/y", "--evaluation.reward_model.dataset", "no.jsonl"],
            "no.jsonl does not exist",
        ),
    ],
)
def test_what_the_section_cannot_hold_is_refused(run: Recipe, place: Path, overrides: list[str], told: str):
    with pytest.raises(RecipeError) as caught:
        load_recipe(place / "recipe.yaml", overrides)
    assert told in str(caught.value)


def test_a_scorer_on_a_file_of_pairs_with_subsets(place: Path, tmp_path: Path, monkeypatch):
    # rows 0 to 9 by their last digit: five right, five equal; subset a holds 0 to 3, b the rest
    rows = [{**row, "subset": "a" if at < 4 else "b"} for at, row in enumerate(preference_rows(10))]
    for row in rows[:5]:  # texts instead of messages mean the same
        row["chosen"], row["rejected"] = row["chosen"][-1]["content"], row["rejected"][-1]["content"]
    (tmp_path / "likes.py").write_text(
        "def scored(conversation):\n"
        "    return float('chosen' in conversation[-1]['content'] and conversation[0]['content'][-1] not in '02468')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    data = write_jsonl(tmp_path / "rewardbench.jsonl", rows)
    stated = {"reward_model": {"scorer": "likes:scored", "dataset": str(data)}}
    recipe = recipe_in(place, tmp_path / "out", evaluation=stated)
    evaluate(recipe, ["reward_model"])
    found = metrics_of(recipe, "likes:scored", "reward_model")
    assert found["accuracy"]["value"] == 0.5 and found["equal scores"]["value"] == 0.5
    assert found["accuracy: a"]["value"] == 0.5 and found["accuracy: b"]["n"] == 6
    assert found["mean of the subsets"]["value"] == 0.5


def test_subsets_weigh_the_same_in_their_mean():
    rows = [{"subset": "a"}, {"subset": "b"}, {"subset": "b"}, {"subset": "b"}]
    found = {metric.name: metric.value for metric in accuracies(rows, [(1, 0), (0, 1), (0, 1), (1, 0)])}
    assert found["accuracy"] == 0.5 and found["mean of the subsets"] == pytest.approx((1 + 1 / 3) / 2)


def test_a_method_with_a_reference_has_rewards_against_the_base(place: Path, tmp_path: Path):
    shutil.copytree(place / "run", tmp_path / "run")
    recipe = recipe_in(place, tmp_path / "run", method="dpo", max_prompt_length=None, beta=0.5)
    evaluate(recipe, PREFERENCES)
    kept = {}
    for model in ("base", "trained"):
        items = (tmp_path / f"run/evaluation/{model}/preferences/items.jsonl").read_text().splitlines()
        kept[model] = {record["id"]: record["sums"] for record in map(json.loads, items)}
    margins = [
        0.5 * ((now[0] - kept["base"][id][0]) - (now[1] - kept["base"][id][1])) for id, now in kept["trained"].items()
    ]
    found = metrics_of(recipe, "trained")
    assert found["reward margin"]["value"] == pytest.approx(sum(margins) / len(margins))
    assert found["reward accuracy"]["value"] == pytest.approx(sum(margin > 0 for margin in margins) / len(margins))
    assert "reward margin" not in metrics_of(recipe, "base")


def test_two_processes_do_not_evaluate_into_one_folder(run: Recipe):
    folder = Path(run.training["output_dir"]) / "evaluation"
    with alone_in(folder), pytest.raises(SetupError, match="is being evaluated by another process"):
        evaluate(run, PREFERENCES)


def test_a_reward_model_is_measured_by_its_own_suite(place: Path, tmp_path: Path):
    stated = {"reward_model": {"scorer": str(place / "base"), "dataset": str(place / "pairs/test.jsonl")}}
    reward = {"method": "reward", "max_prompt_length": None}
    recipe = recipe_in(place, tmp_path / "out", evaluation=stated, **reward)
    assert chosen_suites(recipe, []) == ["reward_model"]
    with pytest.raises(SetupError, match="SUITE=reward_model"):
        evaluate(recipe, PREFERENCES, compare=["base"])
    with pytest.raises(RecipeError, match=r"evaluation\.preferences needs a model that answers"):
        recipe_in(place, tmp_path / "out", **reward)
