"""A Hub on this machine, over real HTTP: enough of the API for downloads, uploads and everything that can go wrong.

with HubServer() as hub:
    hub.store.put("them/model", {"config.json": b"{}"})
    subprocess.run([...], env={**os.environ, "HF_ENDPOINT": hub.url, "HF_HUB_DISABLE_XET": "1"})
    assert hub.count("POST", "/commit/") == 1
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from hub.store import Account, Repo, Store

_API = re.compile(
    r"/api/(model|dataset)s/([^/]+/[^/]+?)(?:/(revision|preupload|commit|tree|paths-info|refs|branch|tag)(?:/(.*))?)?"
)
_FILE = re.compile(r"/(?:(dataset)s/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_LFS = re.compile(r"/(?:(dataset)s/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch")
PAGE = 3
"""Entries on a page of `/tree`: small, so that clients must follow the links."""


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


@dataclass(frozen=True)
class Request:
    """One line of the server's log."""

    method: str
    path: str
    status: int | None
    account: str | None
    bytes: int


class Refused(Exception):
    """An answer other than success, as the Hub words it."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


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
        self.body, self.status = self._body(), None
        fault = self.hub.fault_for(self.command, self.route_path)
        self.cut = fault is not None and fault.drop == "middle"
        try:
            if fault is not None:
                time.sleep(fault.delay)
                if fault.drop == "before":
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
            self.hub.log.append(Request(self.command, self.route_path, self.status, name, len(self.body)))
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
        path = self.route_path
        if self.command == "PUT" and path.startswith("/_storage/"):
            return self._store_large(path.removeprefix("/_storage/"))
        account = self._account()
        for pattern, answer in (
            (re.compile("/api/whoami-v2"), self._whoami),
            (re.compile("/api/validate-yaml"), self._validate),
            (re.compile("/api/repos/create"), self._create),
            (_LFS, self._lfs),
            (_API, self._api),
            (_FILE, self._file),
        ):
            if (match := pattern.fullmatch(path)) is not None:
                return answer(account, *match.groups())
        raise Refused(404, f"no route {self.command} {path}")

    def _whoami(self, account: Account | None) -> None:
        if account is None:
            raise Refused(401, "Invalid username or password.")
        orgs = [{"type": "org", "name": name, "roleInOrg": "write"} for name in account.orgs]
        token = {"type": "access_token", "accessToken": {"displayName": "test", "role": account.role}}
        self._send(200, {"type": "user", "name": account.name, "fullname": account.name, "orgs": orgs, "auth": token})

    def _validate(self, account: Account | None) -> None:
        """The Hub's check of a card's metadata, as far as its documentation states the rules."""
        import yaml

        content = json.loads(self.body)["content"]
        head = re.match(r"---\n(.*?)\n---\n", content, re.DOTALL)
        data = yaml.safe_load(head[1]) if head else {}
        errors = [
            {"message": f'"{key}" must be {kind.__name__}'}
            for key, kind in (
                ("license", str),
                ("tags", list),
                ("datasets", list),
                ("pipeline_tag", str),
                ("model-index", list),
            )
            if key in data and not isinstance(data[key], kind)
        ]
        for model in data.get("model-index") or []:
            for result in model["results"]:
                complete = "type" in result["task"] and {"type", "name"} <= set(result["dataset"])
                if not complete or not all({"type", "value"} <= set(metric) for metric in result["metrics"]):
                    errors.append({"message": '"model-index" lacks a required key'})
        self._send(400 if errors else 200, {"errors": errors, "warnings": []})

    def _create(self, account: Account | None) -> None:
        request = json.loads(self.body)
        kind, owner = request.get("type") or "model", request.get("organization")
        if account is None:
            raise Refused(401, "Invalid username or password.")
        owner = owner or account.name
        if not account.may_write(owner):
            raise Refused(403, f'You don\'t have the rights to create a {kind} under the namespace "{owner}"')
        name = f"{owner}/{request['name']}"
        url = f"{self.hub.url}/{'datasets/' if kind == 'dataset' else ''}{name}"
        with self.hub.store.lock:
            if (kind, name) in self.hub.store.repos:
                return self._send(409, {"error": f"You already created this {kind} repo", "url": url})
            private = request.get("visibility") == "private" or bool(request.get("private"))
            self.hub.store.create(name, kind=kind, private=private)
        return self._send(200, {"url": url, "name": name, "id": "0" * 24})

    def _repo(self, kind: str, name: str, account: Account | None) -> Repo:
        repo = self.hub.store.repos.get((kind, name))
        if repo is None or not repo.readable_by(account):
            raise Refused(401 if account is None else 404, "Repository not found", "RepoNotFound")
        return repo

    def _api(self, account: Account | None, kind: str, name: str, what: str | None, rest: str | None) -> None:
        from hub.api import ENDPOINTS

        repo = self._repo(kind, name, account)
        endpoint: Callable[..., None] | None = ENDPOINTS.get((self.command, what))
        if endpoint is None:
            raise Refused(404, f"no route {self.command} {self.route_path}")
        endpoint(self, repo, account, rest or "main")

    def _lfs(self, account: Account | None, kind: str | None, name: str) -> None:
        repo = self._repo(kind or "model", name, account)
        if account is None or not account.may_write(repo.namespace):
            raise Refused(403, "Forbidden: you must use a write token to upload to a repository.")
        objects = []
        for wanted in json.loads(self.body)["objects"]:
            answer = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in self.hub.store.large:
                answer["actions"] = {"upload": {"href": f"{self.hub.url}/_storage/{wanted['oid']}", "header": {}}}
            objects.append(answer)
        self._send(200, {"transfer": "basic", "objects": objects}, {"Content-Type": "application/vnd.git-lfs+json"})

    def _store_large(self, oid: str) -> None:
        """A pre-signed URL: whoever knows it may write, as with the Hub's storage."""
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise Refused(400, "content does not match its digest")
        self.hub.store.large[oid] = self.body
        self._send(200, b"", {"ETag": f'"{oid}"'})

    def _file(self, account: Account | None, kind: str | None, name: str, revision: str, path: str) -> None:
        repo = self._repo(kind or "model", name, account)
        if not repo.files_readable_by(account):
            raise Refused(
                401 if account is None else 403, f"Access to {kind or 'model'} {name} is restricted", "GatedRepo"
            )
        commit = repo.at(revision)
        if commit is None:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        blob = commit.files.get(path)
        if blob is None:
            return self._send(
                404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit.sha}
            )
        headers = {
            "ETag": f'"{blob.sha256 if blob.large else blob.oid}"',
            "X-Repo-Commit": commit.sha,
            "Content-Type": "application/octet-stream",
            "Accept-Ranges": "bytes",
        }
        if blob.large:
            headers |= {"X-Linked-Etag": f'"{blob.sha256}"', "X-Linked-Size": str(len(blob.content))}
        asked = re.match(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if asked is None:
            return self._send(200, blob.content, headers)
        first, last = int(asked[1]), int(asked[2] or len(blob.content) - 1)
        span = f"bytes {first}-{last}/{len(blob.content)}"
        return self._send(206, blob.content[first : last + 1], {**headers, "Content-Range": span})
