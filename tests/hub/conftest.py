from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from finished import finished_run

from alignment.rehearsal.local_hub import HubServer

ROOT = Path(__file__).parents[2]


@dataclass
class Finished:
    """What a command left."""

    code: int
    out: str
    err: str


class Commands:
    """Runs the repository's scripts in processes of their own, pointed at one local Hub."""

    def __init__(self, hub: HubServer, home: Path) -> None:
        self.hub, self.home = hub, home
        self._numbers = itertools.count()
        environment = {
            **{name: value for name, value in os.environ.items() if name not in ("HF_TOKEN", "HF_HUB_OFFLINE")},
            "HF_ENDPOINT": hub.url,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HOME": str(home / "hf"),
            "ALIGNMENT_CACHE": str(home / "cache"),
            "OMP_NUM_THREADS": "1",
            "TRANSFORMERS_VERBOSITY": "error",
            "TESTED_SOURCE": str(ROOT / "src"),
        }
        self._server = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "forkserver.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        assert self._answer() == "ready"

    def start(self, *argv: str | Path, cwd: Path | None = None, token: str | None = "hf_test_me_write") -> int:
        """Start a script; returns its process id."""
        number = next(self._numbers)
        self._files = self.home / f"{number}.out", self.home / f"{number}.err"
        job = {
            "argv": [str(word) for word in argv],
            "env": {"HF_TOKEN": token},
            "cwd": str(cwd or self.home),
            "out": str(self._files[0]),
            "err": str(self._files[1]),
        }
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()
        return self._answer()

    def finish(self) -> Finished:
        """Wait for the script that was started last."""
        return Finished(self._answer(), *(file.read_text() for file in self._files))

    def run(self, *argv: str | Path, **options) -> Finished:
        self.start(*argv, **options)
        return self.finish()

    def push(self, folder: Path, *arguments: str, **options) -> Finished:
        recipe = folder / "gemma2-tiny.yaml"
        return self.run(ROOT / "scripts/push_to_hub.py", "--config", recipe, *arguments, cwd=folder, **options)

    def data(self, recipe: Path, *arguments: str, **options) -> Finished:
        return self.run(ROOT / "scripts/download_data.py", "--config", recipe, *arguments, **options)

    def python(self, code: str, **options) -> Finished:
        script = self.home / f"code-{next(self._numbers)}.py"
        script.write_text(code)
        return self.run(script, **options)

    def close(self) -> None:
        self._server.stdin.close()
        self._server.wait(timeout=10)

    def _answer(self):
        line = self._server.stdout.readline()
        assert line, "the fork server died"
        return json.loads(line)


@pytest.fixture(scope="session")
def _session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    with HubServer() as hub:
        commands = Commands(hub, tmp_path_factory.mktemp("home"))
        yield commands
        commands.close()


@pytest.fixture
def commands(_session: Commands) -> Commands:
    _session.hub.reset()
    return _session


@pytest.fixture
def hub(commands: Commands) -> HubServer:
    """A Hub without repositories, faults and log."""
    return commands.hub


@pytest.fixture(scope="session")
def _finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("finished") / "gemma2-tiny")


@pytest.fixture
def run_folder(_finished: Path, tmp_path: Path) -> Path:
    """A finished run that a test may spoil."""
    folder = tmp_path / "gemma2-tiny"
    shutil.copytree(_finished, folder)
    recipe = folder / "gemma2-tiny.yaml"
    recipe.write_text(recipe.read_text().replace(str(_finished), str(folder)))
    return folder
