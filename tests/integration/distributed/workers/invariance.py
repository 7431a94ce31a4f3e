"""Train the same pairs with several micro-batches, in one launch; rank 0 writes losses, norms and final weights."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from datasets import Dataset
from tiny import gemma2, gemma_tokenizer, preference_rows
from transformers import AutoModelForCausalLM

from alignment import SimPOConfig, SimPOTrainer
from alignment.cli.exit import leave
from alignment.data import tokenize_preference
from alignment.run.extensions import build_extensions

PAIRS, GLOBAL_BATCH, LENGTHS = 21, 8, {"max_length": 96, "max_prompt_length": 64}
STEPS = 6
"""Two epochs of 8, 8 and 5 pairs: the last step of each is short, and 5 pairs leave ranks without any."""


def train(folder: Path, *, micro_batch: int, packing: bool, clip: float, world_size: int) -> dict:
    tokenizer = gemma_tokenizer()
    pairs = [tokenize_preference(row, tokenizer, **LENGTHS) for row in preference_rows(PAIRS)]
    args = SimPOConfig(
        output_dir=str(folder / "trainer"),
        use_cpu=True,
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=GLOBAL_BATCH // (micro_batch * world_size),
        num_train_epochs=2,
        learning_rate=1e-3,
        adam_epsilon=1e-3,  # keeps an update proportional to its gradient, so that rounding stays rounding
        max_grad_norm=clip,
        warmup_steps=0,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        ddp_find_unused_parameters=False,
        packing=packing,
        beta=10.0,
        gamma_beta_ratio=0.5,
        sft_weight=0.1,
        **LENGTHS,
    )
    if args.deepspeed_plugin is not None:
        build_extensions(optimizer_on_cpu=False)
    # Read after the arguments exist: from then on ZeRO-3 shards what is loaded.
    model = AutoModelForCausalLM.from_pretrained(folder / "model", attn_implementation="eager", dtype=torch.float32)
    trainer = SimPOTrainer(model, args, train_dataset=Dataset.from_list(pairs), processing_class=tokenizer)
    assert trainer.args.world_size == world_size
    trainer.train()
    accelerator = trainer.accelerator
    shards = [getattr(parameter, "ds_tensor", None) for parameter in trainer.model.parameters()]
    state = accelerator.get_state_dict(trainer.model_wrapped)
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    return {
        "type": accelerator.distributed_type.value,
        "stage": getattr(accelerator.state.deepspeed_plugin, "zero_stage", None),
        "shares": [
            shard.numel() / parameter.ds_numel
            for shard, parameter in zip(shards, trainer.model.parameters(), strict=True)
            if shard is not None
        ],
        "log": [{name: entry[name] for name in ("loss", "grad_norm", "rewards/margins", "sft_loss")} for entry in log],
        "weights": {name: weight.clone() for name, weight in state.items()} if accelerator.is_main_process else None,
    }


CASES = {
    "micro-batch 1": {"micro_batch": 1, "packing": False, "clip": 1.0},
    "micro-batch 2": {"micro_batch": 2, "packing": False, "clip": 1.0},
    "micro-batch 4": {"micro_batch": 4, "packing": False, "clip": 1.0},
    "unclipped": {"micro_batch": 2, "packing": False, "clip": 0.0},
    "packed": {"micro_batch": 2, "packing": True, "clip": 1.0},
}


def prepare(folder: Path) -> None:
    """The model that every case starts from."""
    gemma2(len(gemma_tokenizer()), seed=7).save_pretrained(folder / "model")


def main(folder: Path, world_size: int, cases: list[str]) -> None:
    results = {}
    for name in cases:
        case = CASES[name]
        if case["micro_batch"] * world_size <= GLOBAL_BATCH:
            results[name] = train(folder, world_size=world_size, **case)
    if results and next(iter(results.values()))["weights"] is not None:
        torch.save(results, folder / "results.pt")
    leave(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3].split(";") if len(sys.argv) > 3 else list(CASES))
