"""The endpoints below `/api/<kind>s/<repository>/` of the local Hub."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote

from alignment.rehearsal.local_hub.store import Account, Commit, Refused, Repo, git_oid

if TYPE_CHECKING:
    from alignment.rehearsal.local_hub.server import Handler

PAGE = 3
"""Entries on a page of `/tree`: small, so that clients must follow the links."""


def info(http: Handler, repo: Repo, account: Account | None, revision: str) -> None:
    commit = _commit(repo, revision)
    siblings = []
    for path, blob in commit.files.items():
        sibling: dict[str, object] = {"rfilename": path}
        if "blobs" in http.query:
            entry = blob.entry(path)
            sibling |= {"size": entry["size"], "blobId": entry["oid"]}
            if blob.large:
                sibling["lfs"] = {"sha256": blob.sha256, "size": len(blob.content), "pointerSize": 134}
        siblings.append(sibling)
    http._send(
        200,
        {
            "_id": "0" * 24,
            "id": repo.name,
            "sha": commit.sha,
            "private": repo.private,
            "gated": "manual" if repo.gated else False,
            "disabled": False,
            "downloads": 0,
            "likes": 0,
            "tags": [],
            "lastModified": "2026-01-01T00:00:00.000Z",
            "createdAt": "2026-01-01T00:00:00.000Z",
            "siblings": siblings,
        },
    )


def tree(http: Handler, repo: Repo, account: Account | None, rest: str) -> None:
    revision, _, folder = rest.partition("/")
    commit = _commit(repo, revision)
    prefix = f"{folder}/" if folder else ""
    recursive = http.query.get("recursive", ["false"])[0].lower() in ("true", "1")
    entries = []
    for path, blob in commit.files.items():
        if not path.startswith(prefix):
            continue
        inner, nested, _ = path.removeprefix(prefix).partition("/")
        directory = {"type": "directory", "path": f"{prefix}{inner}", "oid": git_oid(inner.encode()), "size": 0}
        if nested and directory not in entries:
            entries.append(directory)
        if recursive or not nested:
            entries.append(blob.entry(path))
    start = int(http.query.get("cursor", ["0"])[0])
    headers = {}
    if start + PAGE < len(entries):
        query = f"recursive={recursive}&expand=False&cursor={start + PAGE}"
        headers["Link"] = f'<{http.hub.url}{quote(http.route_path)}?{query}>; rel="next"'
    http._send(200, entries[start : start + PAGE], headers)


def paths_info(http: Handler, repo: Repo, account: Account | None, revision: str) -> None:
    commit = _commit(repo, revision)
    if "json" in http.headers.get("Content-Type", ""):
        wanted = json.loads(http.body)["paths"]
    else:
        wanted = parse_qs(http.body.decode())["paths"]
    found = [commit.files[path].entry(path) for path in wanted if path in commit.files]
    folders = [
        {"type": "directory", "path": path, "oid": git_oid(path.encode()), "size": 0}
        for path in wanted
        if any(file.startswith(f"{path}/") for file in commit.files)
    ]
    http._send(200, found + folders)


def preupload(http: Handler, repo: Repo, account: Account | None, revision: str) -> None:
    _writable(repo, account)
    commit = _commit(repo, revision)
    answers = []
    for file in json.loads(http.body)["files"]:
        known = commit.files.get(file["path"])
        answers.append(
            {
                "path": file["path"],
                "uploadMode": "lfs" if http.hub.store.is_large(file["path"], file["size"]) else "regular",
                "shouldIgnore": False,
                # The Hub tells the git id, or for large files the digest.
                "oid": None if known is None else known.sha256 if known.large else known.oid,
            }
        )
    http._send(200, {"files": answers, "commitOid": commit.sha})


def commit(http: Handler, repo: Repo, account: Account | None, revision: str) -> None:
    _writable(repo, account)
    if revision not in repo.branches:
        raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    operations = [json.loads(line) for line in http.body.splitlines()]
    with http.hub.store.lock:
        done = http.hub.store.commit(repo, revision, operations)
    if isinstance(done, str):
        raise Refused(412 if done.startswith("A commit has happened") else 400, done)
    assert isinstance(done, Commit)
    url = f"{http.hub.url}/{repo.name}/commit/{done.sha}"
    http._send(
        200, {"success": True, "commitOid": done.sha, "commitUrl": url, "hookOutput": "", "pullRequestUrl": None}
    )


def refs(http: Handler, repo: Repo, account: Account | None, revision: str) -> None:
    def listed(kind: str, named: dict[str, str]) -> list[dict]:
        return [{"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": sha} for name, sha in named.items()]

    http._send(200, {"branches": listed("heads", repo.branches), "tags": listed("tags", repo.tags), "converts": []})


def branch(http: Handler, repo: Repo, account: Account | None, name: str) -> None:
    _writable(repo, account)
    if name in repo.branches:
        raise Refused(409, "Reference already exists")
    start = json.loads(http.body or b"{}").get("startingPoint", "main")
    repo.branches[name] = _commit(repo, start).sha
    http._send(200)


def tag(http: Handler, repo: Repo, account: Account | None, revision: str) -> None:
    _writable(repo, account)
    name = json.loads(http.body)["tag"]
    if name in repo.tags:
        raise Refused(409, "Tag reference exists already")
    repo.tags[name] = _commit(repo, revision).sha
    http._send(200)


def _commit(repo: Repo, revision: str) -> Commit:
    found = repo.at(revision)
    if found is None:
        raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
    return found


def _writable(repo: Repo, account: Account | None) -> None:
    if account is None or not account.may_write(repo.namespace):
        raise Refused(403, "Forbidden: pass a token with write access to this repository.")


def auth_check(http: Handler, repo: Repo, account: Account | None, revision: str) -> None:
    check_access(repo, account)
    http._send(200)


def check_access(repo: Repo, account: Account | None) -> None:
    """Refuse the files of a gated repository to those who have not accepted its terms."""
    if not repo.files_readable_by(account):
        raise Refused(401 if account is None else 403, f"Access to {repo.kind} {repo.name} is restricted", "GatedRepo")


ENDPOINTS = {
    ("GET", None): info,
    ("GET", "revision"): info,
    ("GET", "tree"): tree,
    ("GET", "refs"): refs,
    ("GET", "auth-check"): auth_check,
    ("POST", "paths-info"): paths_info,
    ("POST", "preupload"): preupload,
    ("POST", "commit"): commit,
    ("POST", "branch"): branch,
    ("POST", "tag"): tag,
}
