"""Who is asking, and what that account may do: known before anything expensive starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from huggingface_hub import HfApi, constants, get_token

from alignment.errors import Fault, SetupError
from alignment.hub.errors import LOG_IN, explained, retrying


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Where a model or a data set goes."""

    repository: str
    """`owner/name`, or `name` alone for one's own account."""
    private: bool | None = None
    """True: only for the owner and the organization; `None`: as it is, and public when it is new."""
    revision: str | None = None
    """Branch; made when it does not exist. `main` when absent."""
    tag: str | None = None
    """Tag set on the publication."""
    kind: Literal["model", "dataset"] = "model"

    @property
    def key(self) -> str:
        """The recipe key that names it."""
        return f"hub_{self.kind}_id"

    @property
    def branch(self) -> str:
        """The branch that is written to."""
        return self.revision or constants.DEFAULT_REVISION


def check_destination(destination: Destination, *, api: HfApi | None = None) -> str:
    """The full id `owner/name`, once it is sure that this account may write there.

    Costs one request. Call it before a long training with `push_to_hub: true`, too.

    Raises:
        SetupError: no token, an unknown or read-only one, somebody else's name, no network.
    """
    repository = destination.repository
    if get_token() is None and (api is None or not api.token):
        raise SetupError(Fault(key="HF_TOKEN", rule="is not set, and nobody is logged in", remedy=LOG_IN))
    api = api or HfApi()
    with explained(repository, key=destination.key):
        who = retrying(api.whoami, what="Asking the Hub who we are")
    name, owners = who["name"], [who["name"], *(org["name"] for org in who.get("orgs", []))]
    full = repository if "/" in repository else f"{name}/{repository}"
    owner, _, short = full.partition("/")
    if not short or "/" in short:
        raise SetupError(Fault(key=destination.key, value=repository, rule="must be name or owner/name"))
    if owner not in owners:
        raise SetupError(
            Fault(
                key=destination.key,
                value=full,
                rule=f"belongs to {owner}, and your token is that of {name}",
                remedy=f"push to {name}/{short}, or ask {owner} for write access; nothing was sent",
            )
        )
    if _role(who) == "read":
        raise SetupError(
            Fault(
                key="HF_TOKEN",
                rule="may only read",
                remedy="make one that may write at https://huggingface.co/settings/tokens; nothing was sent",
            )
        )
    return full


def _role(who: Mapping[str, Any]) -> str | None:
    return ((who.get("auth") or {}).get("accessToken") or {}).get("role")
