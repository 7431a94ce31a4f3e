from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny
import yaml
from finished import COMMIT, finished_run, source, write_recipe
from huggingface_hub import ModelCard

from alignment.errors import SetupError
from alignment.methods import METHODS
from alignment.recipe import load_recipe
from alignment.recipe.settings import training_hints
from alignment.report.card import build_card, edited_by_hand

DATASET = "princeton-nlp/gemma2-ultrafeedback-armorm"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("card") / "gemma2-tiny")


@pytest.fixture(scope="module")
def card(folder: Path) -> ModelCard:
    return build_card(folder, repository="me/gemma-2-2b-it-SimPO")


def test_the_metadata_is_what_the_hub_reads(card: ModelCard, tmp_path: Path):
    card.save(tmp_path / "README.md")
    data = ModelCard.load(tmp_path / "README.md").data.to_dict()
    assert data["base_model"] == "google/gemma-2-2b-it" and data["base_model_relation"] == "finetune"
    assert data["license"] == "gemma"
    assert data["datasets"] == [DATASET]
    assert data["library_name"] == "transformers" and data["pipeline_tag"] == "text-generation"
    assert {"simpo", "alignment-handbook", "arxiv:2405.14734"} <= set(data["tags"])
    (model,) = data["model-index"]
    assert model["name"] == "gemma-2-2b-it-SimPO"
    (result,) = model["results"]
    assert result["dataset"] == {"name": DATASET, "type": DATASET, "split": "test", "revision": COMMIT}
    assert {metric["type"]: metric["value"] for metric in result["metrics"]} == {"accuracy": 0.8125, "loss": 1.75}


@pytest.mark.parametrize(
    "heading",
    [
        "## How to use",
        "### Method",
        "### Data",
        "### Hyper-parameters",
        "### Speed, size, time",
        "### Curves",
        "## Evaluation",
        "## Technical specification",
        "### Framework versions",
        "## Reproducibility",
        "## Citation",
    ],
)
def test_every_section_is_there_and_says_something(card: ModelCard, heading: str):
    body = card.text.split(f"\n{heading}\n")[1].split("\n#")[0]
    assert len(body.strip()) > 20


def test_the_numbers_are_this_runs_own(card: ModelCard):
    text = card.text
    assert r"here $\beta = 10$ and $\gamma = 5$" in text
    assert "| learning rate | 8e-07 |" in text
    assert "| gradient clipping | none |" in text
    assert "| rows per optimizer step | 8 (1 process, 4 micro-batches, 2 rows) |" in text
    assert "| training time | 61 s |" in text and "| wall time in all | 75 s |" in text
    assert "| tokens per second | 12,500 |" in text  # the median of 5, 10, 15 and 20 thousand
    assert "| peak memory of a process | 2.5 GiB |" in text
    assert "| share of pairs ranked rightly | 0.9 | 0.8125 |" in text
    assert "160 rows were trained on, 16 held out for evaluation." in text
    assert f"`{COMMIT[:12]}`" in text
    assert "72.4" not in text  # a number of the published model


def test_the_code_of_the_card_runs_with_the_right_stop_tokens(card: ModelCard):
    blocks = [block.split("```")[0] for block in card.text.split("```python\n")[1:]]
    assert len(blocks) == 2
    for block in blocks:
        compile(block, "card", "exec")
        assert '"me/gemma-2-2b-it-SimPO"' in block
    assert 'convert_tokens_to_ids(["<eos>", "<end_of_turn>"])' in blocks[0]
    assert 'dtype="float32"' in blocks[0]


def test_all_who_must_be_cited_are(card: ModelCard):
    citations = card.text.split("## Citation")[1]
    for reference in ("10.34740/KAGGLE/M/3301", "2405.14734", "2310.01377", "2406.12845"):
        assert citations.count(reference) == 1


def test_the_recipe_on_the_card_is_the_recipe(card: ModelCard):
    written = yaml.safe_load(card.text.split("````yaml\n")[1].split("````")[0])
    assert written["beta"] == 10.0 and written["dataset_revision"] == COMMIT


def test_a_card_knows_whether_it_was_edited(card: ModelCard):
    assert not edited_by_hand(str(card))
    assert edited_by_hand(str(card).replace("## Citation", "## Sources"))
    assert edited_by_hand("# Mine")


def test_no_evaluation_no_rows(folder: Path, tmp_path: Path):
    run = finished_run(tmp_path / "run")
    (run / "all_results.json").write_text('{"train_runtime": 1.0}')
    card = build_card(run)
    assert "model-index" not in card.data.to_dict()
    assert "No held-out evaluation ran with this training." in card.text
    assert "| loss | 1.5 | - |" in card.text


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_has_a_card(method: str, tmp_path: Path):
    foreign = {"beta", "gamma_beta_ratio", "max_prompt_length"} - {*training_hints(method)}
    changes = {**dict.fromkeys(foreign), **{key: 0.25 for key in METHODS[method].symbols}}
    path = write_recipe(tmp_path / "tiny.yaml", method=method, output_dir=str(tmp_path / "run"), **changes)
    card = build_card(finished_run(tmp_path / "run", load_recipe(path)))
    paper = METHODS[method].paper
    assert METHODS[method].formula in card.text
    for key, symbol in METHODS[method].symbols.items():
        assert f"${symbol} = 0.25$" in card.text and f"| `{key}` | 0.25 |" in card.text
    assert paper.url in card.text and f"arxiv:{paper.arxiv}" in card.data.tags
    assert ("TRL" in card.text.split("## Citation")[1]) == METHODS[method].built_on_trl


def test_constants_that_a_recipe_leaves_to_their_defaults_are_on_the_card(tmp_path: Path):
    path = write_recipe(tmp_path / "tiny.yaml", beta=None, gamma_beta_ratio=None, output_dir=str(tmp_path / "run"))
    text = build_card(finished_run(tmp_path / "run", load_recipe(path))).text
    assert r"$\beta = 2$ and $\gamma = 0.5$" in text and "| `beta` | 2 |" in text


@pytest.mark.parametrize(
    ("program", "processes", "command"),
    [
        ("/venv/bin/alignment", 1, "alignment train tiny"),
        ("/venv/lib/alignment/cli/__main__.py", 2, "accelerate launch --num_processes 2 -m alignment.cli train tiny"),
    ],
)
def test_the_card_says_how_the_run_was_started(program, processes, command, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("sys.argv", [program, "train", "tiny"])
    folder = finished_run(tmp_path / "run")
    manifest = json.loads((folder / "run_manifest.json").read_text())
    manifest["distributed"]["world_size"] = processes
    (folder / "run_manifest.json").write_text(json.dumps(manifest))
    assert f"\n{command}\n" in build_card(folder).text


def test_local_data_and_models_are_named_without_their_place(tmp_path: Path):
    base = finished_run(tmp_path / "base")
    tiny.write_jsonl(base / "pairs.jsonl", tiny.preference_rows(2))
    recipe = load_recipe(
        write_recipe(
            tmp_path / "local.yaml",
            model_name_or_path=str(base),
            dataset_name=str(base / "pairs.jsonl"),
            dataset_revision=None,
            output_dir=str(tmp_path / "run"),
        )
    )
    sources = (source(str(base / "pairs.jsonl"), revision=None, dropped={"empty completion": 2}),)
    run = finished_run(tmp_path / "run", recipe, sources=sources)
    card = build_card(run)
    data = card.data.to_dict()
    assert not {"base_model", "datasets", "model-index"} & set(data)
    assert "| `pairs.jsonl` | train | local | 160 | 1 |" in card.text
    assert "Dropped: 2 (empty completion)." in card.text
    assert str(tmp_path) not in str(card) + (run / "run_manifest.json").read_text()


def test_answers_before_and_after_are_shown(folder: Path, tmp_path: Path):
    side = {"compliance": 0.05, "ci": [0.02, 0.1], "finished": 0.2, "mean_words": 71.6, "distinct": 1.0}
    measured = {
        "rule": {"name": "plain", "summary": "one to three sentences"},
        "prompts": 32,
        "before": side,
        "after": {**side, "compliance": 0.79, "ci": [0.71, 0.85]},
        "control": {
            "prompts": 8,
            "before": {"accuracy": 0.5, "ci": [0.3, 0.7]},
            "after": {"accuracy": 0.625, "ci": [0.4, 0.8]},
        },
        "samples": [{"prompt": "Why?", "kind": "held-out", "before": "Well\n\nwell", "after": "Because."}],
    }
    run = finished_run(tmp_path / "run")
    (run / "before_after.json").write_text(json.dumps(measured))
    text = build_card(run).text
    assert "| answers that keep the rule | 0.05 [0.02, 0.10] | 0.79 [0.71, 0.85] |" in text
    assert "| control facts right (8 prompts) | 0.50 [0.30, 0.70] | 0.62 [0.40, 0.80] |" in text
    assert "> before: Well well" in text and "> after: Because." in text


def test_links_to_trackers_are_on_the_card(tmp_path: Path):
    run = finished_run(tmp_path / "run", tracking={"wandb": "https://wandb.ai/me/p/runs/1", "trackio": "p/my-run"})
    text = build_card(run).text
    assert "| wandb | [https://wandb.ai/me/p/runs/1](https://wandb.ai/me/p/runs/1) |" in text
    assert "| trackio | `p/my-run` |" in text


def test_no_finished_run_no_card(tmp_path: Path):
    with pytest.raises(SetupError, match="holds no finished run"):
        build_card(tmp_path)
