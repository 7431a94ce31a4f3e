"""`make push` against a Hub over real HTTP: what is sent, what is refused, and what survives a bad network."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

TO = ("--hub_model_id", "me/x", "--skip_reload")
SENT = {
    "README.md",
    "all_results.json",
    "chat_template.jinja",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "run_manifest.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "trainer_state.json",
    "training_curves.png",
}


def published(hub, name: str = "me/x", revision: str = "main") -> dict[str, bytes]:
    """What a repository holds, without the file that the Hub puts there."""
    files = hub.store.repos["model", name].at(revision).files
    return {path: blob.content for path, blob in files.items() if path != ".gitattributes"}


def commits(hub, name: str = "me/x") -> int:
    """Commits since the repository was made."""
    return len(hub.store.repos["model", name].commits) - 1


def writes(hub) -> int:
    """Requests that change something on a Hub."""
    return sum(
        request.method in ("POST", "PUT", "DELETE") and request.path != "/api/validate-yaml" for request in hub.log
    )


def test_a_run_becomes_one_commit_and_a_second_push_sends_nothing(commands, hub, run_folder: Path):
    (run_folder / "checkpoint-20").mkdir()
    (run_folder / "checkpoint-20/optimizer.pt").write_bytes(b"state")
    (run_folder / "training_args.bin").write_bytes(b"pickle")

    first = commands.push(run_folder, "--hub_model_id", "me/x")

    assert first.code == 0, first.err
    assert "Published: me/x" in first.out
    assert commits(hub) == 1
    files = published(hub)
    assert set(files) == SENT
    for name in SENT - {"README.md"}:
        assert files[name] == (run_folder / name).read_bytes(), name
    assert 'model="me/x"' in files["README.md"].decode()

    hub.log.clear()
    second = commands.push(run_folder, *TO)
    assert second.code == 0, second.err
    assert "Already published: me/x" in second.out
    assert commits(hub) == 1
    assert writes(hub) == hub.count("POST", "/api/repos/create", status=409) == 1

    # A change sends that change, in a commit of its own.
    (run_folder / "all_results.json").write_text('{"eval_loss": 1.0}')
    hub.log.clear()
    assert commands.push(run_folder, *TO).code == 0
    assert commits(hub) == 2
    assert hub.count("PUT", "/_storage/") == 0
    assert published(hub)["all_results.json"] == b'{"eval_loss": 1.0}'


def test_what_was_pushed_loads_by_its_name_and_answers(commands, hub, run_folder: Path):
    assert commands.push(run_folder, "--hub_model_id", "loads").code == 0
    loaded = commands.python(
        f"""
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained("me/loads")
model = AutoModelForCausalLM.from_pretrained("me/loads", attn_implementation="eager")
local = AutoModelForCausalLM.from_pretrained({str(run_folder)!r}, attn_implementation="eager")
assert all(torch.equal(a, b) for a, b in zip(model.parameters(), local.parameters(), strict=True))
question = [{{"role": "user", "content": "Why?"}}]
inputs = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
assert inputs["input_ids"].shape[1] > 3
print(tuple(model.generate(**inputs, do_sample=False, max_new_tokens=3).shape), model.generation_config.eos_token_id)
""",
        token=None,
    )
    assert loaded.code == 0, loaded.err
    assert "[1, 5]" in loaded.out


def test_private_stays_private_and_a_public_one_is_not_pushed_to_as_private(commands, hub, run_folder: Path):
    assert commands.push(run_folder, "--hub_model_id", "me/secret", "--private", "--skip_reload").code == 0
    assert hub.store.repos["model", "me/secret"].private
    anonymous = commands.python("from huggingface_hub import HfApi; HfApi().model_info('me/secret')", token=None)
    assert "RepositoryNotFoundError" in anonymous.err

    hub.store.create("me/open")
    hub.log.clear()
    refused = commands.push(run_folder, "--hub_model_id", "me/open", "--private", "--skip_reload")
    assert refused.code == 2
    assert "is public, and PRIVATE=1 asks for a private one" in refused.err
    assert writes(hub) == 0 and commits(hub, "me/open") == 0


def test_a_branch_is_made_and_a_tag_is_set_but_never_moved(commands, hub, run_folder: Path):
    target = (*TO, "--revision", "beta-10", "--tag", "v1")
    assert commands.push(run_folder, *target).code == 0
    repo = hub.store.repos["model", "me/x"]
    assert set(published(hub)) == set()
    assert set(published(hub, revision="beta-10")) == SENT
    assert repo.tags["v1"] == repo.branches["beta-10"]

    assert commands.push(run_folder, *target).code == 0  # the same again changes nothing

    (run_folder / "all_results.json").write_text("{}")
    hub.log.clear()
    moved = commands.push(run_folder, *target)
    assert moved.code == 2
    assert "TAG v1 exists on me/x and holds something else" in moved.err
    assert writes(hub) == 0

    tag_as_branch = commands.push(run_folder, "--hub_model_id", "me/x", "--revision", "v1")
    assert tag_as_branch.code == 2 and "is a tag" in tag_as_branch.err


def test_weights_of_an_earlier_publication_do_not_stay_beside_the_new_ones(commands, hub, run_folder: Path):
    old = {"model-00001-of-00002.safetensors": b"old", "model.safetensors.index.json": b"{}", "notes.md": b"mine"}
    hub.store.put("me/x", old)
    assert commands.push(run_folder, *TO).code == 0
    assert set(published(hub)) == SENT | {"notes.md"}
    assert commits(hub) == 2


def test_a_killed_upload_leaves_nothing_and_goes_on_with_what_is_missing(commands, hub, run_folder: Path):
    weights = load_file(run_folder / "model.safetensors")
    sharded = sorted(weights)[: len(weights) // 2]
    shards = {
        "model-00001-of-00002.safetensors": {name: weights[name] for name in sharded},
        "model-00002-of-00002.safetensors": {name: weights[name] for name in weights if name not in sharded},
    }
    for file, tensors in shards.items():
        save_file(tensors, run_folder / file, metadata={"format": "pt"})
    weight_map = {name: file for file, tensors in shards.items() for name in tensors}
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (run_folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (run_folder / "model.safetensors").unlink()

    # One of the three large files is slow for ever; the others arrive.
    slow = hub.fail("PUT", "/_storage/", delay=60)
    process = commands.start(
        Path(__file__).parents[2] / "scripts/push_to_hub.py",
        *("--config", run_folder / "gemma2-tiny.yaml", *TO),
        cwd=run_folder,
    )
    deadline = time.monotonic() + 120
    while len(hub.store.large) < 2:
        assert time.monotonic() < deadline, "the upload did not get to its large files"
        time.sleep(0.05)
    os.kill(process, signal.SIGKILL)
    assert commands.finish().code == -signal.SIGKILL
    assert slow.times == 0
    assert commits(hub) == 0 and published(hub) == {}

    hub.log.clear()
    again = commands.push(run_folder, *TO)
    assert again.code == 0, again.err
    assert hub.count("PUT", "/_storage/") == 1
    assert commits(hub) == 1
    assert set(published(hub)) == SENT - {"model.safetensors"} | {*shards, "model.safetensors.index.json"}


@pytest.mark.parametrize(
    "faults",
    [
        pytest.param([("PUT", "/_storage/", {"drop": "before"}), ("POST", "preupload", {"status": 503})], id="upload"),
        pytest.param([("POST", "/commit/", {"drop": "before"}), ("GET", "whoami", {"status": 502})], id="commit-lost"),
        pytest.param([("POST", "/commit/", {"drop": "after"})], id="answer-lost"),
        pytest.param(
            [("POST", "repos/create", {"status": 500}), ("POST", "/commit/", {"status": 504})], id="server-in-trouble"
        ),
    ],
)
def test_dropped_connections_and_server_errors_are_tried_again(commands, hub, run_folder: Path, faults):
    for method, path, what in faults:
        hub.fail(method, path, **what)
    pushed = commands.push(run_folder, *TO)
    assert pushed.code == 0, pushed.err
    assert all(fault.times == 0 for fault in hub.faults)
    assert commits(hub) == 1
    assert set(published(hub)) == SENT


def test_somebody_elses_commit_in_between_is_kept(commands, hub, run_folder: Path):
    hub.store.create("me/x")
    slow = hub.fail("POST", "/commit/", delay=1.5)
    commands.start(
        Path(__file__).parents[2] / "scripts/push_to_hub.py",
        *("--config", run_folder / "gemma2-tiny.yaml", *TO),
        cwd=run_folder,
    )
    while slow.times:
        time.sleep(0.02)
    hub.store.put("me/x", {"notes.md": b"theirs"})
    done = commands.finish()
    assert done.code == 0, done.err
    assert hub.count("POST", "/commit/", status=412) == 1
    assert set(published(hub)) == SENT | {"notes.md"}


@pytest.mark.parametrize(
    ("name", "token", "message"),
    [
        pytest.param("me/x", None, "HF_TOKEN is not set, and nobody is logged in", id="no token"),
        pytest.param("me/x", "hf_wrong", "the Hub does not know your token", id="wrong token"),
        pytest.param("me/x", "hf_test_me_read", "HF_TOKEN may only read", id="read-only token"),
        pytest.param("other/x", "hf_test_me_write", "belongs to other, and your token is that of me", id="not mine"),
        pytest.param("a/b/c", "hf_test_me_write", "must be name or owner/name", id="no name"),
    ],
)
def test_who_may_not_push_is_told_once_and_nothing_is_sent(commands, hub, run_folder, name, token, message):
    hub.store.create("other/x")
    hub.log.clear()
    refused = commands.push(run_folder, "--hub_model_id", name, token=token)
    assert refused.code == 2
    assert message in refused.err
    assert refused.err.count("\n  - ") == 1
    assert "Traceback" not in refused.err
    assert writes(hub) == 0


def test_a_run_that_is_not_finished_is_not_pushed(commands, hub, run_folder: Path):
    (run_folder / "run_manifest.json").unlink()
    refused = commands.push(run_folder, *TO)
    assert refused.code == 2
    assert "holds no finished run" in refused.err and "make train" in refused.err
    assert hub.log == []


def test_a_spoilt_folder_is_not_pushed(commands, hub, run_folder: Path):
    weights = load_file(run_folder / "model.safetensors")
    weights["model.norm.weight"][0] = float("nan")
    save_file(weights, run_folder / "model.safetensors", metadata={"format": "pt"})
    refused = commands.push(run_folder, *TO)
    assert refused.code == 2
    assert "model.norm.weight in model.safetensors holds NaN or infinite values" in refused.err
    assert writes(hub) == 0


def test_a_dry_run_shows_everything_and_asks_the_hub_nothing(commands, hub, run_folder: Path):
    (run_folder / "checkpoint-20").mkdir()
    before = {path: path.read_bytes() for path in run_folder.iterdir() if path.is_file()}
    shown = commands.push(run_folder, "--hub_model_id", "me/x", "--dry_run", token=None)
    assert shown.code == 0, shown.err
    for name in SENT:
        assert name in shown.out
    assert f"{(run_folder / 'model.safetensors').stat().st_size:,}" in shown.out
    assert "checkpoint-20/" in shown.out.split("Stays here:")[1]
    assert "## Citation" in shown.out
    assert hub.log == []
    assert before == {path: path.read_bytes() for path in run_folder.iterdir() if path.is_file()}


def test_a_card_edited_by_hand_is_pushed_as_it_is(commands, hub, run_folder: Path):
    card = run_folder / "README.md"
    card.write_text(card.read_text().replace("## How to use", "Mind the gap.\n\n## How to use"))
    assert commands.push(run_folder, *TO).code == 0
    assert published(hub)["README.md"] == card.read_bytes()


def test_a_failed_push_after_training_says_how_to_push_later(commands, hub, run_folder: Path):
    code = f"""
import sys
from alignment.cli.exit import guarded
from alignment.publish.finished import publish_finished
from alignment.recipe import load_recipe
recipe = load_recipe({str(run_folder / "gemma2-tiny.yaml")!r}, ["--hub_model_id", "me/later"])
sys.exit(guarded(lambda: publish_finished(recipe) and None))
"""
    failed = commands.python(code, token="hf_wrong")
    assert failed.code == 2
    assert f"the model is finished and safe in {run_folder}" in failed.err
    assert "gemma2-tiny.yaml" in failed.err
    assert commands.python(code).code == 0
    assert set(published(hub, "me/later")) == SENT
