"""Packages that only some settings need, looked for before a model is loaded."""

from __future__ import annotations

import importlib.util
import netrc
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from alignment.errors import Fault, SetupError

NEEDED_BY: tuple[tuple[str, Callable[[Any], Any], str, str], ...] = (
    ("use_liger_kernel", bool, "liger_kernel", "liger-kernel"),
    ("load_in_4bit", bool, "bitsandbytes", "bitsandbytes>=0.46"),
    ("load_in_8bit", bool, "bitsandbytes", "bitsandbytes>=0.46"),
    ("optim", re.compile("bnb|paged|lion|ademamix|^adamw_8bit").search, "bitsandbytes", "bitsandbytes>=0.46"),
    ("optim", re.compile("^adamw_torch_[48]bit").search, "torchao", "torchao"),
    ("optim", re.compile("galore").search, "galore_torch", "galore-torch"),
    ("optim", re.compile("apollo").search, "apollo_torch", "apollo-torch"),
    ("optim", re.compile("schedule_free").search, "schedulefree", "schedulefree"),
    ("optim", re.compile("^(ada)?lomo").search, "lomo_optim", "lomo-optim"),
    ("optim", re.compile("grokadamw").search, "grokadamw", "grokadamw"),
    ("optim", re.compile("stable_adamw").search, "optimi", "torch-optimi"),
    ("optim", re.compile("anyprecision").search, "torchdistx", "torchdistx"),
    ("report_to", "wandb".__eq__, "wandb", "wandb"),
    ("report_to", "tensorboard".__eq__, "tensorboard", "tensorboard"),
    ("report_to", "trackio".__eq__, "trackio", "trackio"),
    ("report_to", re.compile("^(mlflow|dagshub)$").search, "mlflow", "mlflow"),
    ("report_to", "dagshub".__eq__, "dagshub", "dagshub"),
    ("report_to", "comet_ml".__eq__, "comet_ml", "comet-ml>=3.43.2"),
    ("report_to", "swanlab".__eq__, "swanlab", "swanlab"),
    ("report_to", "clearml".__eq__, "clearml", "clearml"),
    ("report_to", "neptune".__eq__, "neptune", "neptune"),
    ("report_to", "codecarbon".__eq__, "codecarbon", "codecarbon"),
    ("report_to", "dvclive".__eq__, "dvclive", "dvclive"),
    ("report_to", "azure_ml".__eq__, "azureml", "azureml-sdk"),
    ("report_to", "flyte".__eq__, "flytekit", "flytekit"),
)
"""Recipe key, whether a value of it needs the package, its module, and what to give to `pip install`."""


class Account(NamedTuple):
    """How a tracker learns whose run it is."""

    key: str
    """Environment variable that holds the key."""
    files: tuple[str, ...]
    """Where its own login leaves the key."""
    login: str
    mode: str = ""
    """Environment variable that is set to something like "offline" where no key is needed."""


ACCOUNTS: Mapping[str, Account] = {
    "wandb": Account("WANDB_API_KEY", ("~/.config/wandb/settings",), "wandb login", "WANDB_MODE"),
    "comet_ml": Account("COMET_API_KEY", ("~/.comet.config", "./.comet.config"), "comet login", "COMET_MODE"),
    "neptune": Account("NEPTUNE_API_TOKEN", (), "neptune projects", "NEPTUNE_MODE"),
    "clearml": Account("CLEARML_API_ACCESS_KEY", ("~/clearml.conf",), "clearml-init", "CLEARML_OFFLINE_MODE"),
}


def check_packages(settings: Mapping[str, Any]) -> None:
    """Raise `SetupError` with every setting whose package cannot be imported here, or whose account has no key."""
    faults = [
        Fault(
            key=key,
            value=value,
            rule=f"needs the package {module}, which is not installed",
            remedy=f'`.venv/bin/pip install "{requirement}"`, or choose another value',
        )
        for key, needs, module, requirement in NEEDED_BY
        for value in _values(settings.get(key))
        if needs(value) and importlib.util.find_spec(module) is None
    ]
    faults = faults or list(account_faults(_values(settings.get("report_to"))))
    if faults:
        raise SetupError(faults)


def account_faults(trackers: tuple[Any, ...]) -> Iterator[Fault]:
    """Every tracker whose key is nowhere to be found."""
    for tracker, account in ACCOUNTS.items():
        asked = tracker in trackers or ("all" in trackers and importlib.util.find_spec(tracker) is not None)
        if asked and not _known(account):
            yield Fault(
                key="report_to",
                value=tracker,
                rule="has no key on this machine",
                remedy=f"set {account.key}, run `{account.login}`, or set {account.mode}=offline",
            )


def _values(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,) if value else ()


def _known(account: Account) -> bool:
    stated = any(os.environ.get(variable) for variable in (account.key, account.mode))
    return stated or any(Path(file).expanduser().is_file() for file in account.files) or _in_netrc(account)


def _in_netrc(account: Account) -> bool:
    """Weights & Biases keeps its key with the passwords of other sites."""
    if account.key != "WANDB_API_KEY":
        return False
    host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai").partition("://")[2].partition("/")[0]
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False
