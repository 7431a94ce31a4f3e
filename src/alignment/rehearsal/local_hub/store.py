"""What a Hub keeps: accounts, repositories, commits, branches, tags, large files. No HTTP here."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

LARGE = re.compile(r"\.(safetensors|bin|gguf|pt|parquet|png)$")
LARGE_BYTES = 10 << 20


class Refused(Exception):
    """An answer other than success, as the Hub words it."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


def git_oid(content: bytes) -> str:
    """The id that git gives a blob."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass(frozen=True)
class Account:
    """Who a token belongs to, and whether it may write."""

    name: str
    orgs: tuple[str, ...] = ()
    role: str = "write"

    def may_write(self, namespace: str) -> bool:
        return self.role == "write" and namespace in (self.name, *self.orgs)


@dataclass(frozen=True)
class Blob:
    """A file of a commit."""

    content: bytes
    large: bool

    @property
    def oid(self) -> str:
        return git_oid(self.content)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def entry(self, path: str) -> dict:
        """As the `/tree` endpoint lists it."""
        entry = {"type": "file", "path": path, "oid": self.oid, "size": len(self.content)}
        if self.large:
            entry["lfs"] = {"oid": self.sha256, "size": len(self.content), "pointerSize": 134}
        return entry


@dataclass(frozen=True)
class Commit:
    sha: str
    title: str
    files: dict[str, Blob]


@dataclass
class Repo:
    kind: str
    name: str
    private: bool = False
    gated: bool = False
    admitted: set[str] = field(default_factory=set)
    """Accounts that accepted a gated repository's terms."""
    commits: list[Commit] = field(default_factory=list)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        return self.name.split("/")[0]

    def at(self, revision: str) -> Commit | None:
        sha = self.branches.get(revision) or self.tags.get(revision) or revision
        return next((commit for commit in self.commits if commit.sha == sha), None)

    def add(self, branch: str, title: str, files: dict[str, Blob]) -> Commit:
        listing = [len(self.commits), title, *((path, blob.oid) for path, blob in sorted(files.items()))]
        commit = Commit(hashlib.sha1(json.dumps([self.name, listing]).encode()).hexdigest(), title, files)
        self.commits.append(commit)
        self.branches[branch] = commit.sha
        return commit

    def readable_by(self, account: Account | None) -> bool:
        return not self.private or (account is not None and self.namespace in (account.name, *account.orgs))

    def files_readable_by(self, account: Account | None) -> bool:
        return not self.gated or (
            account is not None and (account.name in self.admitted or account.name == self.namespace)
        )


class Store:
    """All of a Hub's state."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {
            "hf_test_me_write": Account("me", orgs=("my-org",)),
            "hf_test_me_read": Account("me", orgs=("my-org",), role="read"),
            "hf_test_other_write": Account("other"),
        }
        self.repos: dict[tuple[str, str], Repo] = {}
        self.large: dict[str, bytes] = {}
        self.lock = threading.RLock()

    def create(self, name: str, *, kind: str = "model", **settings) -> Repo:
        repo = Repo(kind, name, **settings)
        repo.add("main", "initial commit", {".gitattributes": Blob(b"*.safetensors filter=lfs\n", large=False)})
        self.repos[kind, name] = repo
        return repo

    def put(self, name: str, files: dict[str, bytes], *, kind: str = "model", title: str = "put", **settings) -> Repo:
        """Add a commit to a repository, creating it where needed."""
        repo = self.repos.get((kind, name)) or self.create(name, kind=kind, **settings)
        new = {path: Blob(content, large=self.is_large(path, len(content))) for path, content in files.items()}
        head = repo.at("main")
        repo.add("main", title, {**(head.files if head else {}), **new})
        return repo

    def commit(self, repo: Repo, branch: str, operations: list[dict]) -> Commit | str:
        """Apply the lines of a commit request. Returns the commit, or what is wrong with the request."""
        import base64

        head = repo.at(branch)
        assert head is not None, "the request was looked up by its branch"
        files, title = dict(head.files), ""
        for operation in operations:
            key, value = operation["key"], operation["value"]
            if key == "header":
                title = value["summary"]
                if value.get("parentCommit") not in (None, head.sha):
                    return "A commit has happened since. Please refresh and try again."
            elif key == "file":
                files[value["path"]] = Blob(base64.b64decode(value["content"]), large=False)
            elif key == "lfsFile":
                if value["oid"] not in self.large:
                    return "LFS pointer pointed to a file that does not exist"
                files[value["path"]] = Blob(self.large[value["oid"]], large=True)
            elif key == "deletedFile":
                if files.pop(value["path"], None) is None:
                    return "A file with this name doesn't exist"
            elif key == "deletedFolder":
                files = {path: blob for path, blob in files.items() if not fnmatchcase(path, value["path"] + "*")}
        return repo.add(branch, title, files)

    @staticmethod
    def is_large(path: str, size: int) -> bool:
        return bool(LARGE.search(path)) or size > LARGE_BYTES
