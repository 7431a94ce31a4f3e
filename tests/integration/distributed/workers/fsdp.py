"""Four steps of SimPO under plain FSDP2, with a checkpoint after two of them; rank 0 writes what it saw."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from tiny import gemma2, gemma_tokenizer, preference_rows
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_state_dict,
    set_state_dict,
)
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from alignment.cli.exit import leave
from alignment.data import tokenize_preference
from alignment.data.packed_batches import PackedPreferenceCollator
from alignment.data.padded_batches import PaddedPreferenceCollator
from alignment.losses import simpo_loss
from alignment.modeling.logps import padded_logps
from alignment.modeling.packed_forward import packed_logps, prepare_for_packing

STEPS, PAIRS = 4, 8


def build(layout: str, *, sharded: bool):
    """Model, collator and log-probabilities of a layout; the model's decoder layers and root are sharded."""
    tokenizer = gemma_tokenizer()
    model = gemma2(len(tokenizer), seed=7)
    collate, logps = PaddedPreferenceCollator(tokenizer.pad_token_id), padded_logps
    if layout == "packed":
        prepare_for_packing(model, requested="eager", longest=96, dtype=torch.float32, device=torch.device("cpu"))
        collate, logps = PackedPreferenceCollator(), packed_logps
    if sharded:
        mesh = init_device_mesh("cpu", (dist.get_world_size(),))
        for layer in model.model.layers:
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
    return model, collate, logps


def pairs_of(step: int) -> list[dict]:
    tokenizer = gemma_tokenizer()
    rows = preference_rows(STEPS * PAIRS)[step * PAIRS : (step + 1) * PAIRS]
    tokens = (tokenize_preference(row, tokenizer, max_length=96, max_prompt_length=64) for row in rows)
    return [{**pair, "weight": 1.0, "index": index} for index, pair in enumerate(tokens)]


def train(parts, optimizer, steps: range, *, rank: int = 0, world: int = 1) -> list[tuple[float, float]]:
    """`(loss, gradient norm)` of each step."""
    model, collate, logps = parts
    log = []
    for step in steps:
        chosen, rejected = logps(model, collate(pairs_of(step)[rank::world])).means.chunk(2)
        losses, _, _ = simpo_loss(chosen, rejected, beta=10.0, gamma_beta_ratio=0.5)
        loss = losses.sum() / PAIRS
        (loss * world).backward()  # FSDP averages gradients over the ranks
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
        optimizer.step()
        optimizer.zero_grad()
        total = loss.detach().clone()
        if world > 1:
            dist.all_reduce(total)
        log.append((total.item(), norm.item()))
    return log


def adam(model) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=1e-3, eps=1e-3, weight_decay=0.0)


def main(folder: Path) -> None:
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    results = {}
    for layout in ("padded", "packed"):
        parts = build(layout, sharded=True)
        model, optimizer = parts[0], adam(parts[0])
        shares = [parameter.to_local().numel() / parameter.numel() for parameter in model.parameters()]
        log = train(parts, optimizer, range(2), rank=rank, world=world)
        weights, moments = get_state_dict(model, optimizer)
        dcp.save({"model": weights, "optimizer": moments}, checkpoint_id=folder / layout)
        log += train(parts, optimizer, range(2, STEPS), rank=rank, world=world)

        again = build(layout, sharded=True)
        resumed = adam(again[0])
        weights, moments = get_state_dict(again[0], resumed)
        state = {"model": weights, "optimizer": moments}
        dcp.load(state, checkpoint_id=folder / layout)
        set_state_dict(again[0], resumed, model_state_dict=state["model"], optim_state_dict=state["optimizer"])
        rest = train(again, resumed, range(2, STEPS), rank=rank, world=world)

        full = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
        results[layout] = {
            "sharded": isinstance(model, FSDPModule) and isinstance(model.model.layers[0], FSDPModule),
            "shares": shares,
            "log": log,
            "resumed": rest,
            "weights": full,
        }
    if rank == 0:
        torch.save(results, folder / "results.pt")
    dist.barrier()
    leave(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
