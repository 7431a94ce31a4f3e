"""A judge on loopback: an HTTP server that answers chat completions as a test tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Reply:
    """One HTTP answer; without a status the connection is closed."""

    status: int | None = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)


def says(text: str | None, *, usage: dict | None = None, **choice: object) -> Reply:
    """A chat completion; `choice` is what its choice has beside the message."""
    body = {"choices": [{"message": {"role": "assistant", "content": text}, **choice}], "usage": usage}
    return Reply(body=json.dumps(body))


class JudgeServer:
    """Serves while it is entered. `reply` gets the request's body and how often the same conversation came before.

    `pages` are what GET finds: path -> answer.
    """

    def __init__(
        self, reply: Callable[[dict, int], Reply], *, port: int = 0, pages: Mapping[str, Reply] | None = None
    ) -> None:
        self.requests: list[dict] = []
        self.keys: list[str | None] = []
        self.most_at_once = 0
        self._open = 0
        self._lock = threading.Lock()
        judge = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with judge._lock:
                    before = sum(one["messages"][:2] == body["messages"][:2] for one in judge.requests)
                    judge.requests.append({**body, "path": self.path})
                    judge.keys.append(self.headers["Authorization"])
                    judge._open += 1
                    judge.most_at_once = max(judge.most_at_once, judge._open)
                answer = reply(body, before)
                with judge._lock:
                    judge._open -= 1
                self.answer(answer)

            def do_GET(self) -> None:
                self.answer((pages or {}).get(self.path, Reply(status=404)))

            def answer(self, answer: Reply) -> None:
                if answer.status is None:
                    self.close_connection = True
                    return
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body.encode())))
                self.end_headers()
                self.wfile.write(answer.body.encode())

            def log_message(self, *parts: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        self.address = f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> JudgeServer:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
