"""Tests for a CUDA build of PyTorch on a machine that need have no GPU: `make test-cuda-build`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

if torch.version.cuda is None:
    raise pytest.UsageError("tests/cuda_build needs a CUDA build of PyTorch; `make test-cuda-build` makes one")


class OneDevice(TorchDispatchMode):
    """Raises where an operation takes tensors of two devices, which for indices PyTorch itself would allow, and where
    one is copied from the GPU, for which the CPU would wait. Copies to it are counted."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self.copies_to_gpu = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = function(*args, **(kwargs or {}))
        before = devices_in((args, kwargs))
        if function in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default):
            after = devices_in(found)
            if "cuda" in before and after == {"cpu"}:
                raise RuntimeError(f"{function} makes the CPU wait for the GPU")
            self.copies_to_gpu += "cpu" in before and after == {"cuda"}
        elif len(before) > 1:
            raise RuntimeError(f"{function} takes tensors of {' and '.join(sorted(before))}")
        return found


def devices_in(values: Any) -> set[str]:
    """Devices of all tensors that are more than a number."""
    tensors = (x for x in tree_leaves(values) if isinstance(x, torch.Tensor))
    return {x.device.type for x in tensors if x.dim()}


@pytest.fixture
def fake() -> Iterator[FakeTensorMode]:
    """Tensors of any size that have a device and no numbers. Whatever mixes devices or asks for a number raises.

    What the project compiles runs uncompiled, so that each of its operations is looked at.
    """
    with FakeTensorMode() as mode, torch.compiler.set_stance("force_eager"):
        yield mode


@pytest.fixture
def one_device(fake: FakeTensorMode) -> Iterator[OneDevice]:
    with OneDevice() as mode:
        yield mode
