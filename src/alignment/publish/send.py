"""Files to a repository of the Hub: one commit, compared after. Run again, it goes on or does nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

from alignment.errors import Fault, SetupError
from alignment.hub.account import Destination, check_destination
from alignment.hub.errors import brief, explained, may_pass, retrying
from alignment.publish.plan import Plan, PlannedFile, stale_files

if TYPE_CHECKING:
    from huggingface_hub.hf_api import GitRefs, RepoFile

_ATTEMPTS = 5


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What is on the Hub now."""

    repository: str
    """`owner/name`."""
    commit: str
    """The commit that holds every planned file."""
    url: str
    """Page of that commit."""
    sent: bool
    """Whether a commit was made; `False` when the Hub had all of it already."""


def send(
    destination: Destination,
    plan_for: Callable[[str], Plan],
    verify: Callable[[Plan], None],
    *,
    title: str,
) -> Receipt:
    """Bring a branch of a repository to hold a plan.

    Large files are uploaded first and are addressed by content, so that an interrupted upload goes on with the files
    that are still missing; one commit then shows everything at once. A dropped connection or a server in trouble is
    tried again.

    Args:
        destination: where it goes.
        plan_for: what goes there, given the repository's full id.
        verify: raises where the plan is not fit to be published; nothing has been sent then.
        title: of the commit.

    Raises:
        SetupError: not fit to be published, no right to write there, or the Hub cannot take it.
    """
    api = HfApi()  # reads HF_TOKEN, HF_ENDPOINT and the login of this machine
    destination = replace(destination, repository=check_destination(destination, api=api))
    told: dict[str, Any] = {"key": destination.key, "revision": destination.revision, "kind": destination.kind}
    with explained(destination.repository, **told):
        _check_existing(api, destination)
    plan = plan_for(destination.repository)
    verify(plan)
    with explained(destination.repository, **told):
        _check_tag(api, destination, plan)
        _prepare(api, destination)
        commit, sent = _commit(api, destination, plan, title)
        _compare(destination, plan, _listing(api, destination, commit))
        _tag(api, destination, commit)
    page = f"{'datasets/' if destination.kind == 'dataset' else ''}{destination.repository}"
    return Receipt(
        repository=destination.repository, commit=commit, url=f"{api.endpoint}/{page}/commit/{commit}", sent=sent
    )


def _check_existing(api: HfApi, destination: Destination) -> None:
    """A repository that is there already must suit what is asked for."""
    try:
        info = retrying(lambda: _info(api, destination), what="Looking for the repository")
    except RepositoryNotFoundError:
        return
    if destination.private and not info.private:
        raise SetupError(
            Fault(
                key=destination.key,
                value=destination.repository,
                rule="exists and is public, and PRIVATE=1 asks for a private one",
                remedy="choose another name, or make it private in its settings on the Hub; nothing was sent",
            )
        )
    tags = {
        tag.name
        for tag in retrying(
            lambda: api.list_repo_refs(info.id, repo_type=destination.kind), what="Reading its branches"
        ).tags
    }
    if destination.revision in tags:
        raise SetupError(Fault(key="REVISION", value=destination.revision, rule="is a tag", remedy="name a branch"))


def _check_tag(api: HfApi, destination: Destination, plan: Plan) -> None:
    """A tag is never moved: one that exists must already hold exactly this."""
    if destination.tag is None or (target := _tag_target(api, destination)) is None:
        return
    if _differences(plan, _listing(api, destination, target)):
        raise SetupError(
            Fault(
                key="TAG",
                value=destination.tag,
                rule=f"exists on {destination.repository} and holds something else",
                remedy="choose another name; nothing was sent",
            )
        )


def _tag_target(api: HfApi, destination: Destination) -> str | None:
    try:
        refs = retrying(
            lambda: api.list_repo_refs(destination.repository, repo_type=destination.kind), what="Reading its tags"
        )
    except RepositoryNotFoundError:
        return None
    return next((tag.target_commit for tag in refs.tags if tag.name == destination.tag), None)


def _prepare(api: HfApi, destination: Destination) -> None:
    """The repository and the branch exist afterwards."""
    repository = destination.repository
    retrying(
        lambda: api.create_repo(repository, private=destination.private, repo_type=destination.kind, exist_ok=True),
        what="Making the repository",
    )
    if destination.revision is not None:
        branch = destination.revision
        retrying(
            lambda: api.create_branch(repository, branch=branch, repo_type=destination.kind, exist_ok=True),
            what="Making the branch",
        )


def _commit(api: HfApi, destination: Destination, plan: Plan, title: str) -> tuple[str, bool]:
    """Bring the branch to hold the plan; returns its commit and whether we made one.

    Where an answer got lost nobody knows whether the commit was made, so every attempt looks first. `parent_commit`
    makes the Hub refuse a second commit on the same state.
    """
    repository, sent = destination.repository, False
    for attempt in range(1, _ATTEMPTS + 1):
        head = retrying(lambda: _info(api, destination, destination.branch).sha, what="Reading its head")
        assert head is not None, "the Hub tells the commit of a branch"
        remote = _listing(api, destination, head)
        stale = stale_files(remote, plan)
        if not stale and not _differences(plan, remote):
            return head, sent
        operations = [CommitOperationAdd(file.name, _content(file)) for file in plan.files]
        removals = [CommitOperationDelete(name) for name in stale]
        try:
            sent = True
            api.create_commit(
                repository,
                [*operations, *removals],
                commit_message=title,
                repo_type=destination.kind,
                revision=destination.branch,
                parent_commit=head,
            )
        except Exception as error:
            if attempt == _ATTEMPTS or not (_moved(error) or any(map(may_pass, _chain(error)))):
                raise
            print(f"Uploading: {brief(error)}; going on where it stopped", file=sys.stderr, flush=True)
    return retrying(lambda: str(_info(api, destination, destination.branch).sha), what="Reading"), sent


def _content(file: PlannedFile) -> str | bytes:
    return file.source if isinstance(file.source, bytes) else str(file.source)


def _moved(error: Exception) -> bool:
    """Whether the branch moved since we looked: someone pushed, or our own commit arrived and its answer did not."""
    return isinstance(error, HfHubHTTPError) and error.response is not None and error.response.status_code == 412


def _chain(error: BaseException | None) -> list[Exception]:
    found = []
    while isinstance(error, Exception):
        found.append(error)
        error = error.__cause__
    return found


def _listing(api: HfApi, destination: Destination, commit: str) -> dict[str, RepoFile]:
    """Path -> file of a commit."""
    from huggingface_hub.hf_api import RepoFile

    entries = retrying(
        lambda: list(
            api.list_repo_tree(destination.repository, recursive=True, revision=commit, repo_type=destination.kind)
        ),
        what="Listing its files",
    )
    return {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}


def _differences(plan: Plan, remote: Mapping[str, RepoFile]) -> list[str]:
    """Names of planned files that the Hub lacks or holds with another size or content."""
    return [file.name for file in plan.files if not _same(file, remote.get(file.name))]


def _same(file: PlannedFile, found: RepoFile | None) -> bool:
    if found is None or found.size != file.size:
        return False
    return found.lfs.sha256 == file.sha256 if found.lfs is not None else found.blob_id == file.git_oid


def _compare(destination: Destination, plan: Plan, remote: Mapping[str, RepoFile]) -> None:
    wrong = _differences(plan, remote)
    if wrong:
        raise SetupError(
            Fault(
                key=destination.repository,
                rule=f"does not hold what was sent: {', '.join(wrong)}",
                remedy="run the same command again; it sends only what is missing",
            )
        )


def _tag(api: HfApi, destination: Destination, commit: str) -> None:
    if destination.tag is not None:
        tag = destination.tag
        retrying(
            lambda: api.create_tag(
                destination.repository, tag=tag, revision=commit, repo_type=destination.kind, exist_ok=True
            ),
            what="Setting the tag",
        )


def _info(api: HfApi, destination: Destination, revision: str | None = None) -> Any:
    """The repository as the Hub describes it, at a branch."""
    return api.repo_info(destination.repository, revision=revision, repo_type=destination.kind)


def _refs(api: HfApi, destination: Destination, repository: str) -> GitRefs:
    """Its branches and tags."""
    return retrying(lambda: api.list_repo_refs(repository, repo_type=destination.kind), what="Reading its branches")
