"""`make data` against a Hub over real HTTP: what is fetched, what is refused, and training offline after it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import yaml
from finished import write_recipe

ROOT = Path(__file__).parents[2]
SPLITS = b"""---
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train.jsonl
  - split: test
    path: data/test.jsonl
---
"""


@pytest.fixture(scope="session")
def model_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tiny.save_gemma2(tmp_path_factory.mktemp("model"))
    copies = {"consolidated.safetensors": b"copy", "original/model.safetensors": b"copy", "model.gguf": b"copy"}
    return {path.name: path.read_bytes() for path in folder.iterdir()} | copies


def rows_as_files(count: int = 24, test: int = 8) -> dict[str, bytes]:
    lines = [json.dumps(row) + "\n" for row in tiny.preference_rows(count + test)]
    return {
        "README.md": SPLITS,
        "data/train.jsonl": "".join(lines[:count]).encode(),
        "data/test.jsonl": "".join(lines[count:]).encode(),
    }


@pytest.fixture
def recipe(commands, hub, model_files, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A recipe whose model and data set are on the Hub, under names of this test alone: the cache is shared."""
    name = request.node.name.split("[")[0].removeprefix("test_")[:60]
    hub.store.put(f"them/{name}", model_files)
    hub.store.put(f"them/{name}-pairs", rows_as_files(), kind="dataset")
    return write_recipe(
        tmp_path / "tiny-simpo.yaml",
        model_name_or_path=f"them/{name}",
        dataset_name=f"them/{name}-pairs",
        dataset_revision=None,
        eval_strategy="epoch",
        logging_steps=1,
        output_dir=str(tmp_path / "out"),
    )


def name_of(recipe: Path) -> str:
    return recipe.read_text().split("model_name_or_path: ")[1].splitlines()[0]


def test_everything_is_fetched_once_checked_and_reported(commands, hub, recipe: Path, tmp_path: Path):
    name = name_of(recipe)
    first = commands.data(recipe, cwd=tmp_path)
    assert first.code == 0, first.err
    manifest = json.loads((tmp_path / "out/data_manifest.json").read_text())
    model = hub.store.repos["model", name].at("main")
    data = hub.store.repos["dataset", f"{name}-pairs"].at("main")
    (found,) = manifest["models"]
    assert (found["id"], found["source"], found["revision"]) == (name, "hub", model.sha)
    assert [(source["split"], source["rows"], source["revision"]) for source in manifest["data"]["sources"]] == [
        ("train", 24, data.sha),
        ("test", 8, data.sha),
    ]
    lengths = manifest["tokens"]["train"]["lengths"]
    assert set(lengths) == {"prompt", "chosen", "rejected", "pair"}
    assert lengths["prompt"]["p10"] <= lengths["prompt"]["p50"] <= lengths["prompt"]["max"] < 64
    assert (
        manifest["disk"]["models"]
        == found["bytes"]
        == sum(
            len(blob.content)
            for path, blob in model.files.items()
            if not path.startswith((".", "cons", "orig", "model.g"))
        )
    )
    assert str(tmp_path) not in json.dumps(manifest)
    for text in (model.sha[:12], data.sha[:12], "24", "p99", "HF_HUB_OFFLINE=1 make train"):
        assert text in first.out.replace("\n", " ")
    for copy in ("consolidated", "original", "gguf"):
        assert hub.count("GET", f"resolve/.*{copy}") == 0

    report = manifest["report"]
    assert [split["rows"] for split in report["data"]["splits"].values()] == [24, 8]
    assert report["tokens"]["train"]["rows"] == report["tokens"]["train"]["of"] == 24

    hub.log.clear()
    looked = commands.run(ROOT / "scripts/check_recipe.py", recipe, "--json", cwd=tmp_path)
    shown = json.loads(looked.out)
    assert shown["data"] == report["data"] | {"cleaning": [], "cleaning_missing": None}
    assert shown["tokens"] == report["tokens"] and shown["pair"]["row"] == f"row 0 of train of {name}-pairs"
    assert hub.log == [], "what is in the cache is looked at without asking anybody"
    assert commands.data(recipe, cwd=tmp_path).code == 0
    assert hub.count("GET", "/resolve/.*(safetensors|tokenizer.json|jsonl)") == 0


def test_a_download_that_breaks_off_goes_on_and_damage_is_found(commands, hub, recipe: Path, tmp_path: Path):
    name = name_of(recipe)
    hub.fail("GET", "/resolve/.*/model.safetensors", drop="middle")
    hub.fail("GET", "/resolve/.*/tokenizer.json", status=503)
    hub.fail("GET", f"/api/models/{name}", status=502)
    done = commands.data(recipe, cwd=tmp_path)
    assert done.code == 0, done.err
    assert all(fault.times == 0 for fault in hub.faults)

    (cached,) = (commands.home / f"hf/hub/models--{name.replace('/', '--')}/snapshots").glob("*/model.safetensors")
    blob = cached.resolve()
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    blob.chmod(0o644)
    blob.write_bytes(content)
    damaged = commands.data(recipe, cwd=tmp_path)
    assert damaged.code == 2
    assert "was damaged on this disk and is removed from the cache: model.safetensors; run the same" in damaged.err
    hub.log.clear()
    assert commands.data(recipe, cwd=tmp_path).code == 0
    assert hub.count("GET", "/resolve/.*/model.safetensors") == 1


def test_a_pinned_revision_is_what_is_fetched(commands, hub, recipe: Path, tmp_path: Path):
    name = name_of(recipe)
    pinned = hub.store.repos["model", name].at("main").sha
    data = hub.store.repos["dataset", f"{name}-pairs"].at("main").sha
    hub.store.put(name, {"config.json": b"broken by a later commit"})
    hub.store.put(f"{name}-pairs", rows_as_files(count=20), kind="dataset")
    done = commands.data(recipe, "--model_revision", pinned, "--dataset_revision", data, cwd=tmp_path)
    assert done.code == 0, done.err
    manifest = json.loads((tmp_path / "out/data_manifest.json").read_text())
    assert manifest["models"][0]["revision"] == pinned
    assert manifest["data"]["rows"]["train"] == 24


@pytest.mark.parametrize(
    ("change", "arguments", "token", "messages"),
    [
        pytest.param(
            {"gated": True},
            [],
            "hf_test_other_write",
            ["is gated", "accept them at {url}/{name}", "then use its token"],
            id="gated",
        ),
        pytest.param(
            {"gated": True}, [], None, ["is gated", "accept them at {url}/{name}", "hf auth login"], id="gated-no-token"
        ),
        pytest.param(
            {"private": True}, [], None, ["is not a model on the Hub, or is private", "hf auth login"], id="private"
        ),
        pytest.param(
            {},
            ["--model_name_or_path", "them/nothing"],
            "hf_test_me_write",
            ["them/nothing is not a model on the Hub, or your account may not see it"],
            id="unknown",
        ),
        pytest.param(
            {}, ["--model_revision", "v9"], None, ["model_name_or_path {name} has no revision 'v9'"], id="revision"
        ),
        pytest.param(
            {},
            ["--dataset_revision", "v9"],
            None,
            ["dataset_name {name}-pairs has no revision 'v9'"],
            id="data-revision",
        ),
        pytest.param(
            {},
            ["--dataset_name", "them/nothing"],
            None,
            ["them/nothing is not a dataset on the Hub"],
            id="data-unknown",
        ),
        pytest.param({}, [], "hf_wrong", ["the Hub does not know your token"], id="wrong-token"),
    ],
)
def test_refusals_are_told_once_with_the_remedy(commands, hub, recipe, tmp_path, change, arguments, token, messages):
    name = name_of(recipe)
    for key, value in change.items():
        setattr(hub.store.repos["model", name], key, value)
    refused = commands.data(recipe, *arguments, cwd=tmp_path, token=token)
    assert refused.code == 2, refused.out + refused.err
    for message in messages:
        assert message.format(url=hub.url, name=name) in refused.err
    assert refused.err.count("\n  - ") == 1
    assert "Traceback" not in refused.err
    assert hub.count("GET", "/resolve/.*model.safetensors", status=200) == 0


def test_a_gated_data_set_is_told_before_the_model_would_be_trained(commands, hub, recipe, tmp_path):
    name = name_of(recipe)
    hub.store.repos["dataset", f"{name}-pairs"].gated = True
    refused = commands.data(recipe, cwd=tmp_path, token="hf_test_other_write")
    assert refused.code == 2
    assert f"accept them at {hub.url}/datasets/{name}-pairs" in refused.err
    hub.store.repos["dataset", f"{name}-pairs"].admitted.add("other")
    assert commands.data(recipe, cwd=tmp_path, token="hf_test_other_write").code == 0


def test_local_model_and_data_need_no_hub(commands, hub, recipe, tmp_path, model_files):
    tiny.save_gemma2(tmp_path / "model")
    data = tiny.write_jsonl(tmp_path / "pairs.jsonl", tiny.preference_rows(16))
    arguments = ("--model_name_or_path", str(tmp_path / "model"), "--dataset_name", str(data), "--eval_strategy", "no")
    done = commands.data(recipe, *arguments, cwd=tmp_path, token=None)
    assert done.code == 0, done.err
    assert hub.log == []
    manifest = json.loads((tmp_path / "out/data_manifest.json").read_text())
    assert manifest["models"][0] | {"files": 0, "bytes": 0} == {
        "id": "model",
        "source": "local",
        "revision": None,
        "folder": None,
        "files": 0,
        "bytes": 0,
    }
    assert manifest["data"]["sources"][0]["id"] == "pairs.jsonl"


@pytest.mark.slow
def test_training_needs_no_network_after_it(commands, hub, recipe: Path, tmp_path: Path):
    fetched = commands.data(recipe, cwd=tmp_path)
    assert fetched.code == 0, fetched.err
    hub.log.clear()
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(commands.home / "hf"),
        "ALIGNMENT_CACHE": str(commands.home / "cache"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    trained = subprocess.run(
        [sys.executable, ROOT / "scripts/simpo.py", "--config", recipe, "--max_steps", "2"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert trained.returncode == 0, trained.stderr
    assert hub.log == []
    manifest = json.loads((tmp_path / "out/run_manifest.json").read_text())
    fetched_manifest = json.loads((tmp_path / "out/data_manifest.json").read_text())
    assert manifest["data"]["sources"] == fetched_manifest["data"]["sources"]
    assert manifest["model"]["revision"] == fetched_manifest["models"][0]["revision"]

    pushed = commands.run(
        ROOT / "scripts/push_to_hub.py",
        "--config",
        recipe,
        "--max_steps",
        "2",
        "--hub_model_id",
        "me/trained",
        cwd=tmp_path,
    )
    assert pushed.code == 0, pushed.err
    card = hub.store.repos["model", "me/trained"].at("main").files["README.md"].content.decode()
    assert f"- {name_of(recipe)}-pairs" in card and f"base_model: {name_of(recipe)}" in card


def test_what_a_benchmark_needs_is_fetched_too(commands, hub, recipe: Path, tmp_path: Path):
    wanted = {"evaluation": {"alpaca_eval": {}}}
    recipe.write_text(recipe.read_text() + yaml.safe_dump(wanted))
    absent = commands.data(recipe, cwd=tmp_path)
    assert absent.code == 2 and "evaluation.alpaca_eval tatsu-lab/alpaca_eval is not a dataset on the Hub" in absent.err
    files = {"df_gamed.csv": b"index\n0\n", "alpaca_eval_gpt4_baseline.json": b"[]"}
    hub.store.put("tatsu-lab/alpaca_eval", files, kind="dataset")
    first = commands.data(recipe, cwd=tmp_path)
    assert first.code == 0, first.err
    assert "AlpacaEval: df_gamed.csv and alpaca_eval_gpt4_baseline.json of tatsu-lab/alpaca_eval" in first.out
    kept = (commands.home / "hf/hub/datasets--tatsu-lab--alpaca_eval/snapshots").rglob("*.*")
    assert {path.name: path.read_bytes() for path in kept} == files
