"""Give a module that is already built another forward, in place."""

from __future__ import annotations

from torch import nn


def mix_in(mixin: type[nn.Module], module: nn.Module) -> None:
    """Put `mixin` before the class of `module`, unless it is there already.

    A mixin is an `nn.Module` whose annotations name what it reads from the class that it is put before; it sets none
    of them.

    Parameters, hooks and the class's name and module stay: the name is what `save_pretrained` writes as the
    architecture.
    """
    if not isinstance(module, mixin):
        own = type(module)
        module.__class__ = type(own.__name__, (mixin, own), {"__module__": own.__module__})
