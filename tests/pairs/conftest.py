from __future__ import annotations

from pathlib import Path

import pytest
from paired import Place, pairs_recipe
from tiny import save_gemma2


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory) -> Path:
    return save_gemma2(tmp_path_factory.mktemp("model"))


@pytest.fixture
def place(tmp_path, tiny_model, monkeypatch) -> Place:
    monkeypatch.chdir(tmp_path)
    return pairs_recipe(tmp_path, tiny_model)
