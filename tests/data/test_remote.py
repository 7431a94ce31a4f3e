"""Data sets of a Hub, served on this machine: the pinned revision, and what is said when something is missing.

`huggingface_hub` reads the address of the Hub when it is imported, so each case runs in a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from tiny import preference_rows

from alignment.rehearsal.local_hub import HubServer

pytestmark = pytest.mark.slow

SCRIPT = """
import json, sys
from alignment.data.remote import read_remote
from alignment.errors import DataError
for arguments in json.loads(sys.argv[1]):
    try:
        dataset, commit = read_remote(*arguments)
        print(json.dumps([len(dataset), commit]))
    except DataError as error:
        print(json.dumps(str(error)))
"""

SLICED = """
import sys
from alignment.data import load_dataset_splits
from alignment.recipe.schema import DataArguments
data = DataArguments(dataset_name="them/pairs", dataset_train_split="train[:60%]", dataset_test_split="train[60%:]")
splits = load_dataset_splits(data, kind="preference")
print([part["prompt"][0]["content"] for rows in splits[:2] for part in rows])
"""


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def ask(endpoint, folder, *requests, **environment):
    """What `read_remote` answers to each (name, split, config, revision)."""
    printed = run(endpoint, folder, SCRIPT, json.dumps(requests), **environment)
    return [json.loads(line) for line in printed.splitlines() if line[:1] in '["']


def run(endpoint, folder, *script, **environment):
    """What a Python script prints to which `endpoint` is the Hub."""
    process = subprocess.run(
        [sys.executable, "-c", *script],
        capture_output=True,
        text=True,
        timeout=240,
        env={
            **os.environ,
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(folder),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            **environment,
        },
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_a_pinned_revision_and_what_is_missing(tmp_path):
    with HubServer() as hub:
        repo = hub.store.put("them/pairs", {"train.jsonl": lines(preference_rows(5))}, kind="dataset")
        first = repo.at("main").sha
        hub.store.put("them/pairs", {"train.jsonl": lines(preference_rows(8))}, kind="dataset")
        second = repo.at("main").sha
        newest, pinned, split, missing, revision = ask(
            hub.url,
            tmp_path,
            ("them/pairs", "train", None, None),
            ("them/pairs", "train", None, first),
            ("them/pairs", "trian", None, None),
            ("them/nothing", "train", None, None),
            ("them/pairs", "train", None, "v9"),
        )
    assert newest == [8, second]
    assert pinned == [5, first]
    assert "has no split trian; did you mean train" in split
    assert "doesn't exist on the Hub or cannot be accessed" in missing
    assert "v9" in revision
    assert "choose a branch, tag or commit" in revision
    offline, other = ask(
        hub.url, tmp_path, ("them/pairs", "train", None, first), ("them/other", "train", None, None), HF_HUB_OFFLINE="1"
    )
    assert offline == [5, first]
    assert "HF_HUB_OFFLINE is set" in other


def test_slices_of_one_split_of_the_hub(tmp_path):
    rows = preference_rows(10)
    with HubServer() as hub:
        hub.store.put("them/pairs", {"train.jsonl": lines(rows)}, kind="dataset")
        printed = run(hub.url, tmp_path, SLICED)
    assert str([row["prompt"] for row in rows]) in printed
