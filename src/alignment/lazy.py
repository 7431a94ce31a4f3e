"""Names that a package offers without importing the modules they come from.

A package's `__init__` is a docstring alone, or offers names in this way, with a `TYPE_CHECKING` block for mypy.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazily(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package: a name of `modules` is fetched from its module on first use.

    Args:
        package: the package's `__name__`.
        modules: name -> full name of the module that holds it.
    """

    def resolve(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(modules[name]), name)

    return resolve
