"""`transformers serve` on loopback, offline, as its users start it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class TransformersServe:
    """A server of the model in `folder`, on the same port each time it is started."""

    def __init__(self, folder: Path, log: Path) -> None:
        self.folder, self.log, self.port = folder, log, free_port()
        self.address = f"http://127.0.0.1:{self.port}/v1"
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        program = "from transformers.cli.transformers import main; main()"
        command = [sys.executable, "-c", program, "serve", str(self.folder), "--port", str(self.port)]
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env={**os.environ, "HF_HUB_OFFLINE": "1"}, start_new_session=True
            )

    def wait(self, seconds: float = 120) -> None:
        """Until it answers."""
        for _ in range(int(seconds * 5)):
            assert self._process is not None and self._process.poll() is None, self.log.read_text()
            try:
                httpx.get(f"http://127.0.0.1:{self.port}/health", timeout=5)
                return
            except httpx.RequestError:
                time.sleep(0.2)
        raise TimeoutError(self.log.read_text())

    def kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def __enter__(self) -> TransformersServe:
        self.start()
        self.wait()
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()
