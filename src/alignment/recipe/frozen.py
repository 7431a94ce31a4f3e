"""Nested values that cannot change: what a recipe says stays what it said."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NoReturn


class FrozenDict(dict[str, Any]):
    """A dict that refuses to change. Still a dict, so `json.dumps`, `**kwargs` and pickle take it as it is."""

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("a recipe is read-only; state the change in YAML or on the command line")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenDict, (dict(self),)


def freeze(value: Any) -> Any:
    """`value` with every mapping a FrozenDict and every list a tuple, at any depth."""
    if isinstance(value, Mapping):
        return FrozenDict({key: freeze(item) for key, item in value.items()})
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return tuple(freeze(item) for item in value)
    return value


def thaw(value: Any) -> Any:
    """The reverse of `freeze`: plain dicts and lists, for libraries that want to change what they are given."""
    if isinstance(value, Mapping):
        return {key: thaw(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [thaw(item) for item in value]
    return value


def flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """The values in nested mappings, each with its dotted key."""
    if isinstance(value, Mapping) and value:
        for name, item in value.items():
            yield from flat(item, f"{key}.{name}" if key else name)
    else:
        yield key, value
