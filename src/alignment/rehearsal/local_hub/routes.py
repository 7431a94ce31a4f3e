"""The local Hub outside the API of a repository: accounts, cards, new repositories, large files, downloads."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from alignment.rehearsal.local_hub.api import ENDPOINTS, check_access
from alignment.rehearsal.local_hub.store import Account, Refused, Repo

if TYPE_CHECKING:
    from alignment.rehearsal.local_hub.server import Handler


def whoami(http: Handler, account: Account | None) -> None:
    if account is None:
        raise Refused(401, "Invalid username or password.")
    orgs = [{"type": "org", "name": name, "roleInOrg": "write"} for name in account.orgs]
    token = {"type": "access_token", "accessToken": {"displayName": "test", "role": account.role}}
    http._send(200, {"type": "user", "name": account.name, "fullname": account.name, "orgs": orgs, "auth": token})


def validate(http: Handler, account: Account | None) -> None:
    """The Hub's check of a card's metadata, as far as its documentation states the rules."""
    import yaml

    content = json.loads(http.body)["content"]
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
    http._send(400 if errors else 200, {"errors": errors, "warnings": []})


def create(http: Handler, account: Account | None) -> None:
    request = json.loads(http.body)
    kind, owner = request.get("type") or "model", request.get("organization")
    if account is None:
        raise Refused(401, "Invalid username or password.")
    owner = owner or account.name
    if not account.may_write(owner):
        raise Refused(403, f'You don\'t have the rights to create a {kind} under the namespace "{owner}"')
    name = f"{owner}/{request['name']}"
    url = f"{http.hub.url}/{'datasets/' if kind == 'dataset' else ''}{name}"
    with http.hub.store.lock:
        if (kind, name) in http.hub.store.repos:
            return http._send(409, {"error": f"You already created this {kind} repo", "url": url})
        private = request.get("visibility") == "private" or bool(request.get("private"))
        http.hub.store.create(name, kind=kind, private=private)
    return http._send(200, {"url": url, "name": name, "id": "0" * 24})


def repo_of(http: Handler, kind: str, name: str, account: Account | None) -> Repo:
    repo = http.hub.store.repos.get((kind, name))
    if repo is None or not repo.readable_by(account):
        raise Refused(401 if account is None else 404, "Repository not found", "RepoNotFound")
    return repo


def api(http: Handler, account: Account | None, kind: str, name: str, what: str | None, rest: str | None) -> None:
    repo = repo_of(http, kind, name, account)
    endpoint: Callable[..., None] | None = ENDPOINTS.get((http.command, what))
    if endpoint is None:
        raise Refused(404, f"no route {http.command} {http.route_path}")
    endpoint(http, repo, account, rest or "main")


def lfs(http: Handler, account: Account | None, kind: str | None, name: str) -> None:
    repo = repo_of(http, kind or "model", name, account)
    if account is None or not account.may_write(repo.namespace):
        raise Refused(403, "Forbidden: you must use a write token to upload to a repository.")
    objects = []
    for wanted in json.loads(http.body)["objects"]:
        answer = {"oid": wanted["oid"], "size": wanted["size"]}
        if wanted["oid"] not in http.hub.store.large:
            answer["actions"] = {"upload": {"href": f"{http.hub.url}/_storage/{wanted['oid']}", "header": {}}}
        objects.append(answer)
    http._send(200, {"transfer": "basic", "objects": objects}, {"Content-Type": "application/vnd.git-lfs+json"})


def store_large(http: Handler, oid: str) -> None:
    """A pre-signed URL: every client that knows it may write, as with the Hub's storage."""
    if hashlib.sha256(http.body).hexdigest() != oid:
        raise Refused(400, "content does not match its digest")
    http.hub.store.large[oid] = http.body
    http._send(200, b"", {"ETag": f'"{oid}"'})


def file(http: Handler, account: Account | None, kind: str | None, name: str, revision: str, path: str) -> None:
    repo = repo_of(http, kind or "model", name, account)
    check_access(repo, account)
    commit = repo.at(revision)
    if commit is None:
        raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    blob = commit.files.get(path)
    if blob is None:
        return http._send(
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
    asked = re.match(r"bytes=(\d+)-(\d*)", http.headers.get("Range", ""))
    if asked is None:
        return http._send(200, blob.content, headers)
    first, last = int(asked[1]), int(asked[2] or len(blob.content) - 1)
    span = f"bytes {first}-{last}/{len(blob.content)}"
    return http._send(206, blob.content[first : last + 1], {**headers, "Content-Range": span})


_REPOSITORY = r"([^/]+/[^/]+?)"
_WHAT = "revision|preupload|commit|tree|paths-info|refs|branch|tag|auth-check"
ROUTES = tuple(
    (re.compile(pattern), answer)
    for pattern, answer in (
        (r"/api/whoami-v2", whoami),
        (r"/api/validate-yaml", validate),
        (r"/api/repos/create", create),
        (rf"/(?:(dataset)s/)?{_REPOSITORY}\.git/info/lfs/objects/batch", lfs),
        (rf"/api/(model|dataset)s/{_REPOSITORY}(?:/({_WHAT})(?:/(.*))?)?", api),
        (rf"/(?:(dataset)s/)?{_REPOSITORY}/resolve/([^/]+)/(.+)", file),
    )
)
