"""What the launcher adds to the environment of its workers, and what it refuses to start from."""

from __future__ import annotations

import os

import pytest

from alignment.run.launch import let_memory_grow, main


@pytest.mark.parametrize(
    ("stated", "found"),
    [
        ({}, {"PYTORCH_ALLOC_CONF": "expandable_segments:True"}),
        ({"PYTORCH_ALLOC_CONF": "backend:cudaMallocAsync"}, {"PYTORCH_ALLOC_CONF": "backend:cudaMallocAsync"}),
        ({"PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:512"}, {"PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:512"}),
    ],
)
def test_gpu_memory_grows_in_place_unless_the_user_says_how(monkeypatch, stated, found):
    for name in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"):
        monkeypatch.delenv(name, raising=False)
    for name, value in stated.items():
        monkeypatch.setenv(name, value)
    let_memory_grow()
    assert {name: value for name, value in os.environ.items() if name.endswith("ALLOC_CONF")} == found
    monkeypatch.delenv("PYTORCH_ALLOC_CONF", raising=False)


@pytest.mark.parametrize(("content", "reason"), [("- a", "holds no settings"), ("[", "cannot be read")])
def test_a_file_that_is_no_configuration_is_named(tmp_path, capsys, content, reason):
    path = tmp_path / "zero3.yaml"
    path.write_text(content)
    assert main(["--config_file", str(path), "script.py"]) == 2
    assert f"{path} {reason}" in capsys.readouterr().err
