"""Packages that only some settings need, looked for before a model is loaded."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Mapping
from typing import Any

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
)
"""Recipe key, whether a value of it needs the package, its module, and what to give to `pip install`."""


def check_packages(settings: Mapping[str, Any]) -> None:
    """Raise `SetupError` with every setting whose package cannot be imported here."""
    faults = [
        Fault(
            key=key,
            value=settings[key],
            rule=f"needs the package {module}, which is not installed",
            remedy=f'`.venv/bin/pip install "{requirement}"`, or choose another value',
        )
        for key, needs, module, requirement in NEEDED_BY
        if settings.get(key) and needs(settings[key]) and importlib.util.find_spec(module) is None
    ]
    if faults:
        raise SetupError(faults)
