"""Tests keep their tokens to themselves."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """Processes that a test starts inherit it too."""
    os.environ["ALIGNMENT_CACHE"] = str(tmp_path_factory.mktemp("cache"))
