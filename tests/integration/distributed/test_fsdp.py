"""FSDP2 on two CPU processes, with PyTorch's own `fully_shard`.

accelerate shards nothing on a CPU, so the Trainer under fsdp2.yaml is not tested here; what is, is that the loss, the
packed layout with its fused head, the gradient norm, saving and resuming are right when parameters are sharded.
"""

from __future__ import annotations

import sys

import pytest
import torch
from processes import WORKERS, run

sys.path.insert(0, str(WORKERS))
import fsdp

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sharded(tmp_path_factory) -> dict:
    folder = tmp_path_factory.mktemp("fsdp")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = run([*command, str(WORKERS / "fsdp.py"), str(folder)], folder / "log")
    assert done.code == 0, done.output
    return torch.load(folder / "results.pt", weights_only=False)


@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_sharded_equals_whole(sharded, layout):
    result = sharded[layout]
    assert result["sharded"]
    assert max(result["shares"]) <= 0.51
    model, collate, logps = fsdp.build(layout, sharded=False)
    expected = fsdp.train((model, collate, logps), fsdp.adam(model), range(fsdp.STEPS))
    assert torch.allclose(torch.tensor(result["log"]), torch.tensor(expected), rtol=1e-4, atol=1e-5)
    for name, weight in model.state_dict().items():
        assert torch.allclose(result["weights"][name], weight, atol=2e-6), name


@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_a_sharded_checkpoint_resumes_exactly(sharded, layout):
    assert sharded[layout]["resumed"] == sharded[layout]["log"][2:]
