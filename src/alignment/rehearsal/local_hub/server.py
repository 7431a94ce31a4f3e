"""A Hub on this machine, over real HTTP: enough of the API for downloads, uploads and everything that can go wrong.

with HubServer() as hub:
    hub.store.put("them/model", {"config.json": b"{}"})
    subprocess.run([...], env={**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1"})
    assert hub.count("POST", "/commit/") == 1
"""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from alignment.rehearsal.local_hub.routes import ROUTES, store_large
from alignment.rehearsal.local_hub.store import Account, Refused, Store


@dataclass
class Fault:
    """Something that goes wrong on matching requests, `times` times."""

    method: str
    path: str
    """Regular expression searched in the path."""
    status: int | None = None
    """Answer this instead of the truth."""
    drop: str | None = None
    """Close the connection: `before` the request took effect, `after` it did, or `middle` of a download."""
    delay: float = 0.0
    """Seconds to wait, for a slow network."""
    times: int = 1
    over: threading.Event = field(default_factory=threading.Event)
    """Set by `reset`: who still waits hangs up and touches nothing."""


@dataclass(frozen=True)
class Request:
    """One line of the server's log."""

    method: str
    path: str
    status: int | None
    account: str | None
    bytes: int


class HubServer:
    """Runs in threads of this process; `store`, `faults` and `log` may be read and changed while it runs."""

    def __init__(self) -> None:
        self.store, self.faults, self.log = Store(), list[Fault](), list[Request]()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"hub": self}))
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> HubServer:
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def reset(self) -> None:
        """Forget everything; requests that still wait come to nothing."""
        for fault in self.faults:
            fault.over.set()
        self.store, self.faults, self.log = Store(), [], []

    def fail(self, method: str, path: str, **fault: Any) -> Fault:
        self.faults.append(Fault(method, path, **fault))
        return self.faults[-1]

    def count(self, method: str, path: str, status: int | None = None) -> int:
        """Requests so far whose method and path match."""
        return sum(
            request.method == method and bool(re.search(path, request.path)) and status in (None, request.status)
            for request in self.log
        )

    def fault_for(self, method: str, path: str) -> Fault | None:
        with self.store.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.method == method and re.search(fault.path, path):
                    fault.times -= 1
                    return fault
        return None


class Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.route_path, self.query = unquote(url.path), parse_qs(url.query)
        self.body = self._body()
        self.status: int | None = None
        fault, log = self.hub.fault_for(self.command, self.route_path), self.hub.log
        self.cut = fault is not None and fault.drop == "middle"
        try:
            if fault is not None:
                if fault.over.wait(fault.delay) or fault.drop == "before":
                    return self._hang_up()
                if fault.status is not None:
                    raise Refused(fault.status, "The server has a bad day")
                self.silent = fault.drop == "after"
            self._answer()
        except Refused as error:
            self._send(
                error.status,
                {"error": error.message},
                {"X-Error-Message": error.message, **({"X-Error-Code": error.code} if error.code else {})},
            )
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            account = self.hub.store.accounts.get(self._token() or "")
            name = account.name if account else None
            log.append(Request(self.command, self.route_path, self.status, name, len(self.body)))
            self.silent = False

    do_POST = do_PUT = do_HEAD = do_DELETE = do_GET
    silent = False
    """The request takes effect, and its answer is lost."""

    def _hang_up(self) -> None:
        self.close_connection = True

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while size := int(self.rfile.readline().strip(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _send(self, status: int, content: Any = None, headers: dict[str, str] | None = None) -> None:
        self.status = status
        if self.silent:
            return self._hang_up()
        data = content if isinstance(content, bytes) else json.dumps({} if content is None else content).encode()
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(data)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data[: len(data) // 2] if self.cut else data)
        if self.cut:
            self._hang_up()
        return None

    def _token(self) -> str | None:
        header = self.headers.get("Authorization", "")
        return header.removeprefix("Bearer ") if header.startswith("Bearer ") else None

    def _account(self) -> Account | None:
        """The caller. A token that nobody has is refused wherever it is shown, as the Hub does."""
        token = self._token()
        if token is None:
            return None
        if token not in self.hub.store.accounts:
            raise Refused(401, "Invalid credentials in Authorization header")
        return self.hub.store.accounts[token]

    def _answer(self) -> None:
        if self.command == "PUT" and self.route_path.startswith("/_storage/"):
            return store_large(self, self.route_path.removeprefix("/_storage/"))
        account = self._account()
        for pattern, answer in ROUTES:
            if (match := pattern.fullmatch(self.route_path)) is not None:
                return answer(self, account, *match.groups())
        raise Refused(404, f"no route {self.command} {self.route_path}")
