"""The parts of `verify_gpu.py` that are programs of their own: the GPU tests, short trainings, the benchmark."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from verify_parts import Evidence, Setting, Skipped, needs_gpu

ROOT = Path(__file__).parents[1]


def run(command: list[str], seconds: float) -> str:
    """The output of one of the project's programs.

    Raises:
        RuntimeError: it fails; with the end of what it said.
    """
    paths = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
    )
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}: {done.stdout[-1500:]}")
    return done.stdout


def need(*packages: str) -> None:
    """Raises `Skipped` unless all packages are here."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise Skipped(f"not installed: {', '.join(missing)}")


def tests(setting: Setting) -> Evidence:
    """`tests/gpu`."""
    needs_gpu(setting)
    need("pytest")
    return {"pytest": run(["-m", "pytest", "tests/gpu", "-q"], setting.seconds).strip().splitlines()[-1]}


def benchmark(setting: Setting) -> Evidence:
    """`gpu.py`, in the time that is left; it writes gpu.json itself."""
    size = ["--size", setting.size.name, "--device", setting.device, "--folder", str(setting.folder)]
    # Tests the logic on a CPU; a round of the whole step on a GPU.
    how = [
        "--minutes",
        f"{setting.seconds / 60 - 0.5:.2f}",
        *(["--pairs", "4", "--rounds", "1"] * (setting.device == "cpu")),
    ]
    run(["benchmarks/gpu.py", *size, *how], setting.seconds)
    found = json.loads((setting.folder / "gpu.json").read_text())
    return {key: found[key] for key in ("ceilings", "ratio_to_reference", "ratio_to_trl", "projection")}


def training(
    setting: Setting,
    *,
    arguments: tuple[str, ...] = (),
    configuration: dict[str, str] | None = None,
    packages: tuple[str, ...] = (),
    only_gpu: bool = False,
) -> Evidence:
    """Four steps of SimPO with a small Gemma-2.

    Args:
        arguments: of the recipe, beside those of recipes/tiny/simpo.yaml.
        configuration: device to the file under configs/accelerate that one process is launched with.
        packages: what it needs beside what every training needs.
    """
    if only_gpu:
        needs_gpu(setting)
    need("datasets", "accelerate", *packages)
    with tempfile.TemporaryDirectory() as folder:
        run(["-c", MODEL, folder], 120)
        recipe = ["scripts/train.py", "--config", "recipes/tiny/simpo.yaml", "--model_name_or_path", folder]
        output = ["--output_dir", f"{folder}/run", "--save_strategy", "no", *precision(setting), *arguments]
        file = (configuration or {}).get(setting.device)
        launched = [
            "-m",
            "alignment.run.launch",
            "--config_file",
            f"configs/accelerate/{file}.yaml",
            "--num_processes",
            "1",
        ]
        run([*(launched if file else []), *recipe, *output], setting.seconds)
        manifest = json.loads(Path(folder, "run/run_manifest.json").read_text())
        history = json.loads(Path(folder, "run/trainer_state.json").read_text())["log_history"]
    losses = [entry["loss"] for entry in history if "loss" in entry]
    assert len(losses) == 4 and all(map(math.isfinite, losses)), f"losses {losses}"
    return {"losses": losses, "distributed": manifest["distributed"], "attention": manifest["attention_backend"]}


def precision(setting: Setting) -> list[str]:
    return ["--bf16", "true"] if setting.device == "cuda" else ["--use_cpu", "true"]


MODEL = """
import sys
sys.path.insert(0, "tests")
from tiny import save_gemma2
save_gemma2(sys.argv[1], head_dim=64, query_pre_attn_scalar=64)
"""
"""Writes a small Gemma-2 of random weights to a folder."""

ADAPTER = ("--use_peft", "true", "--lora_r", "8", "--lora_alpha", "8", "--lora_target_modules", "all-linear")
TRAININGS = {
    "zero3": partial(training, configuration={"cuda": "zero3", "cpu": "zero3_cpu"}, packages=("deepspeed",)),
    "lora": partial(training, arguments=ADAPTER, packages=("peft",)),
    "qlora": partial(
        training, arguments=(*ADAPTER, "--load_in_4bit", "true"), packages=("peft", "bitsandbytes"), only_gpu=True
    ),
    "zero3_offload": partial(training, configuration={"cuda": "zero3_offload"}, packages=("deepspeed",), only_gpu=True),
}
