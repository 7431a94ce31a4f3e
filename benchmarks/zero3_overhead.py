"""What ZeRO-3 costs over unsharded training: `python benchmarks/zero3_overhead.py`.

The same pairs, weights and steps on two CPU processes, unsharded (DDP) and sharded (ZeRO-3), and on one process alone.
The medians of the steps, their ratio and the losses are printed and written to benchmarks/results/zero3_cpu.json. On a
CPU the collectives go through shared memory, so this measures the bookkeeping of sharding, not a GPU interconnect.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ARMS = {"one process": None, "DDP, 2 processes": "ddp", "ZeRO-3, 2 processes": "zero3_cpu"}
WARM_UP, STEPS, GLOBAL_BATCH, VOCABULARY = 2, 6, 8, 4096
TIMEOUT = 1800


def worker(result: Path) -> None:
    """Train one arm; the first rank writes seconds, loss and memory."""
    import torch
    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from transformers import Gemma2Config, Gemma2ForCausalLM, PreTrainedTokenizerFast, TrainerCallback

    from alignment import SimPOConfig, SimPOTrainer
    from alignment.cli.exit import leave
    from alignment.run.extensions import build_extensions

    world = int(os.environ.get("WORLD_SIZE", 1))
    generator = torch.Generator().manual_seed(0)
    rows = [
        {
            side: torch.randint(3, VOCABULARY, (length,), generator=generator).tolist()
            for side, length in (("prompt_ids", 48), ("chosen_ids", 48), ("rejected_ids", 48))
        }
        for _ in range((WARM_UP + STEPS) * GLOBAL_BATCH)
    ]
    # Made before the arguments exist: from then on ZeRO-3 shards a model while it is built, with other random numbers.
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=VOCABULARY,
        hidden_size=256,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=32,
        query_pre_attn_scalar=32,
        intermediate_size=1024,
    )
    model = Gemma2ForCausalLM._from_config(config, attn_implementation="eager")
    args = SimPOConfig(
        output_dir=str(result.parent / f"{result.stem}-out"),
        use_cpu=True,
        packing=False,
        per_device_train_batch_size=GLOBAL_BATCH // 4,
        gradient_accumulation_steps=4 // world,
        max_steps=WARM_UP + STEPS,
        learning_rate=1e-4,
        warmup_steps=0,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        ddp_find_unused_parameters=False,
        max_length=512,
        max_prompt_length=256,
    )
    if args.deepspeed_plugin is not None:
        build_extensions(optimizer_on_cpu=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"<pad>": 0})), pad_token="<pad>")
    seconds: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_, **__) -> None:
            self.started = time.perf_counter()

        def on_step_end(self, *_, **__) -> None:
            seconds.append(time.perf_counter() - self.started)

    trainer = SimPOTrainer(
        model, args, train_dataset=Dataset.from_list(rows), processing_class=tokenizer, callbacks=[Clock()]
    )
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    if trainer.accelerator.is_main_process:
        content = {
            "distributed": trainer.accelerator.distributed_type.value,
            "seconds": seconds[WARM_UP:],
            "loss": losses[-1],
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        result.write_text(json.dumps(content))
    leave(0)


def run_arm(config: str | None, result: Path) -> dict:
    """Run one arm in processes of its own and read what it wrote."""
    command = [str(Path(__file__).resolve()), "--worker", str(result)]
    if config is None:
        command = [sys.executable, *command]
    else:
        launcher = ["--config_file", str(ROOT / f"configs/accelerate/{config}.yaml"), "--main_process_port", "0"]
        command = [sys.executable, "-m", "alignment.run.launch", *launcher, "--num_processes", "2", *command]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
    return json.loads(result.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--repeats", type=int, default=2, help="times that all arms run, in turns")
    arguments = parser.parse_args()
    if arguments.worker is not None:
        worker(arguments.worker)
        return

    from alignment.report.machine import hardware_facts, version_facts

    runs: dict[str, list[dict]] = {name: [] for name in ARMS}
    with tempfile.TemporaryDirectory() as scratch:
        for repeat in range(arguments.repeats):
            for name, config in ARMS.items():
                runs[name].append(run_arm(config, Path(scratch) / f"{repeat}-{config}.json"))
    arms = [
        {
            "name": name,
            "distributed": results[0]["distributed"],
            "seconds_median": statistics.median(second for result in results for second in result["seconds"]),
            "loss": results[0]["loss"],
            "peak_mib": round(max(result["peak_mib"] for result in results)),
        }
        for name, results in runs.items()
    ]
    by_name = {arm["name"]: arm["seconds_median"] for arm in arms}
    ratio = by_name["ZeRO-3, 2 processes"] / by_name["DDP, 2 processes"]
    report = {
        "hardware": hardware_facts(),
        "versions": version_facts(),
        "workload": f"Gemma-2, 4 layers of width 256, {GLOBAL_BATCH} pairs of 144 tokens a step, fp32",
        "arms": arms,
        "ratio_to_plain": {"zero3": ratio},
    }
    target = ROOT / "benchmarks/results/zero3_cpu.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(report, indent=2) + "\n")
    print(f"{'arm':22} {'s a step':>9} {'loss':>9} {'peak MiB':>9}")
    for arm in arms:
        print(f"{arm['name']:22} {arm['seconds_median']:9.3f} {arm['loss']:9.5f} {arm['peak_mib']:9}")
    print(f"ZeRO-3 takes {ratio:.2f} times as long as unsharded training on the same two processes. ({target.name})")


if __name__ == "__main__":
    main()
