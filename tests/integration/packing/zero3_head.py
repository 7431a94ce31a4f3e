"""Run by two processes: LoRA on every linear layer and the head under ZeRO-3; prints the distance of the gradients."""

from __future__ import annotations

import deepspeed
import torch
import torch.distributed as dist
from deepspeed.utils import safe_get_full_grad
from packing_models import distance, gradients, packed, padded, random_pairs
from test_model import LINEARS, adapted

from alignment.cli.exit import leave
from alignment.modeling.logps import padded_logps
from alignment.modeling.packed_forward import packed_logps, prepare_for_packing

ZERO3 = {
    "train_micro_batch_size_per_gpu": 1,
    "zero_optimization": {"stage": 3, "stage3_param_persistence_threshold": 0},
    "zero_allow_untested_optimizer": True,
    "zero_force_ds_cpu_optimizer": False,
}


def model() -> torch.nn.Module:
    torch.manual_seed(1)
    return adapted("gemma2", target_modules=[*LINEARS, "lm_head"])


if __name__ == "__main__":
    deepspeed.init_distributed("gloo", verbose=False)
    pairs, plain, sharded = random_pairs(6), model(), model()
    expected = gradients(plain, padded_logps(plain, padded(pairs)).means.square().sum())
    prepare_for_packing(sharded)
    optimizer = torch.optim.AdamW([p for p in sharded.parameters() if p.requires_grad])
    engine, *_ = deepspeed.initialize(model=sharded, optimizer=optimizer, config=ZERO3)
    share = [pairs[:2], pairs[2:]][dist.get_rank()]
    engine.backward(packed_logps(engine, packed(share)).means.square().sum() * dist.get_world_size())
    found = {name: safe_get_full_grad(p) for name, p in engine.module.named_parameters() if p.requires_grad}
    assert all(p.numel() == 0 for name, p in engine.module.named_parameters() if "lm_head" in name), "not sharded"
    if dist.get_rank() == 0:
        print("distance", distance(found, expected))
    leave(0)
