"""The documentation builds, its links lead somewhere, and its figures are those that its scripts draw."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from commands import PAGES, ROOT

_LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)")


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "simpo" / "index.html").is_file()


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    absent = [
        link
        for link in _LINK.findall((ROOT / page).read_text(encoding="utf-8"))
        if not (ROOT / page.parent / link).exists()
    ]
    assert not absent


@pytest.mark.slow
@pytest.mark.parametrize("script", ["simpo", "mask"])
def test_figures_are_what_their_scripts_draw(script: str, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / f"docs/plots/{script}.py"), str(tmp_path)]
    subprocess.run(command, check=True)
    drawn = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert drawn and all((ROOT / "docs/images" / name).read_bytes() == content for name, content in drawn.items())
