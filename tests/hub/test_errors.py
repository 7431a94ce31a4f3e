"""Faults of the network, the disk and the account, told as one sentence with a remedy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub.hf_api import RepoSibling

from alignment.errors import SetupError
from alignment.hub.downloads import _check_room, wanted_files
from alignment.hub.errors import TransportError, explained, fault_of, retrying


def test_a_full_disk_is_told_even_when_something_else_was_made_of_it():
    try:
        try:
            with open("/dev/full", "w") as full:
                full.write("x" * 100_000)
        except OSError as error:
            raise RuntimeError("could not store the file") from error
    except RuntimeError as error:
        fault = fault_of(error, "them/model", key="model_name_or_path")
    assert fault is not None
    assert str(fault).startswith("model_name_or_path them/model does not fit on the disk; make room, or set HF_HOME")


def test_too_little_room_is_told_before_anything_is_fetched():
    huge = RepoSibling(rfilename="model.safetensors", size=10**18, blob_id="0" * 40)
    with pytest.raises(SetupError, match=r"needs 1000000000\.0 GB more and .* left; make room, or set HF_HOME"):
        _check_room("them/model", [huge], key="model_name_or_path")


def test_our_own_mistakes_are_not_explained_away():
    with pytest.raises(KeyError), explained("them/model", key="model_name_or_path"):
        {}["x"]
    assert fault_of(KeyError("x"), "them/model", key="k") is None


def test_patience_ends_and_is_not_spent_on_what_will_not_pass():
    calls = []

    def failing(error: Exception):
        def action() -> None:
            calls.append(error)
            raise error

        return action

    with pytest.raises(ConnectionResetError):
        retrying(failing(ConnectionResetError()), what="x", attempts=3, first_wait=0.001)
    assert len(calls) == 3
    calls.clear()
    with pytest.raises(ValueError):
        retrying(failing(ValueError()), what="x", attempts=3, first_wait=0.001)
    assert len(calls) == 1
    calls.clear()
    with pytest.raises(TransportError):
        retrying(failing(TransportError("gone")), what="x", attempts=2, first_wait=0.001)
    assert len(calls) == 2


def test_no_network_is_one_message_and_no_traceback(tmp_path: Path):
    code = """
import sys
from alignment.cli.exit import guarded
from alignment.hub.downloads import fetch_model
sys.exit(guarded(lambda: fetch_model("them/model") and None))
"""
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[2] / "src"),
        "HF_ENDPOINT": "http://127.0.0.1:9",  # the discard port: nobody listens
        "HF_HOME": str(tmp_path),
    }
    for offline, message in (
        ("0", "cannot be reached at http://127.0.0.1:9"),
        ("1", "is not in the cache and the Hub cannot be reached"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code], env={**environment, "HF_HUB_OFFLINE": offline}, capture_output=True, text=True
        )
        assert done.returncode == 2, done.stderr
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def siblings(*names: str) -> list[RepoSibling]:
    return [RepoSibling(rfilename=name) for name in names]


def test_only_one_copy_of_the_weights_is_wanted():
    small = ["config.json", "tokenizer.json", "tokenizer.model", "chat_template.jinja", "LICENSE.txt"]
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    copies = [
        "consolidated.safetensors",
        "original/model.safetensors",
        "pytorch_model.bin",
        "model.gguf",
        "onnx/config.json",
    ]
    wanted = [file.rfilename for file in wanted_files(siblings(*small, *shards, *copies))]
    assert sorted(wanted) == sorted(small + shards)
    assert [file.rfilename for file in wanted_files(siblings("config.json", "pytorch_model.bin", "model.gguf"))] == [
        "config.json",
        "pytorch_model.bin",
    ]
    assert [file.rfilename for file in wanted_files(siblings(*small, *shards), weights=False)] == small
