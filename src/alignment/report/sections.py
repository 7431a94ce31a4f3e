"""What each section of the model card says, as plain rows and sentences from a run's own files."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from alignment.methods import Method
from alignment.report.finished_run import FinishedRun

Rows = list[tuple[str, str]]

SETTINGS = (
    "beta",
    "gamma_beta_ratio",
    "loss_type",
    "label_smoothing",
    "sft_weight",
    "max_length",
    "max_prompt_length",
    "truncation",
    "truncation_mode",
    "generation_prompt",
    "packing",
    "use_peft",
    "lora_r",
    "lora_alpha",
    "lora_dropout",
    "load_in_4bit",
    "dtype",
    "bf16",
    "fp16",
)
"""Recipe keys shown among the hyper-parameters when the recipe states them."""

METRICS = {
    "loss": "loss",
    "rewards/accuracies": "share of pairs ranked rightly",
    "rewards/margins": "reward margin",
    "rewards/chosen": "reward of chosen",
    "rewards/rejected": "reward of rejected",
    "logps/chosen": "log-probability of chosen",
    "logps/rejected": "log-probability of rejected",
    "mean_token_accuracy": "share of tokens predicted rightly",
}
"""Logged metrics that the card reports, in order, with the words for them."""


def glance_rows(run: FinishedRun, base: str, licence: str | None) -> Rows:
    """The table under the title."""
    model = run.manifest["model"]
    return [
        ("base model", base),
        ("method", run.manifest["method"]),
        ("parameters", _count(model["parameters"])),
        ("training rows", _count(run.manifest["data"]["rows"]["train"])),
        ("licence", licence or "that of the base model"),
        ("made with", "alignment-handbook, SimPO edition"),
    ]


def data_rows(run: FinishedRun, *, hub: set[str]) -> list[dict[str, str]]:
    """One row for each source of the mixture; those in `hub` become links."""
    rows = []
    for source in run.manifest["data"]["sources"]:
        name = source["id"]
        revision = source.get("revision")
        rows.append(
            {
                "link": f"[{name}](https://huggingface.co/datasets/{name})" if name in hub else f"`{name}`",
                "split": str(source.get("split", "")),
                "revision": f"`{revision[:12]}`" if revision else "local",
                "rows": _count(source["rows"]),
                "weight": _shown(source.get("weight", 1.0)),
            }
        )
    return rows


def data_sentence(run: FinishedRun) -> str:
    """How many rows were trained and tested on, and how many were left out."""
    rows = run.manifest["data"]["rows"]
    held_out = f", {_count(rows['test'])} held out for evaluation" if rows["test"] else ", none held out"
    dropped: dict[str, int] = {}
    for source in run.manifest["data"]["sources"]:
        for reason, count in (source.get("dropped") or {}).items():
            dropped[reason] = dropped.get(reason, 0) + count
    left_out = "".join(f" Dropped: {_count(count)} ({reason})." for reason, count in dropped.items() if count)
    return f"{_count(rows['train'])} rows were trained on{held_out}.{left_out}"


def hyperparameter_rows(run: FinishedRun) -> Rows:
    """The settings that decide the result, stated or derived."""
    stated, batch, how = run.manifest["recipe"], run.manifest["batch"], run.manifest["optimisation"]
    rows = [(f"`{key}`", _shown(stated[key])) for key in SETTINGS if stated.get(key) is not None]
    clipping = how["clipping"]["effective"]
    seeds = run.manifest["seeds"]
    return [
        *rows,
        ("learning rate", _shown(how["learning_rate"])),
        ("schedule", f"{how['lr_scheduler_type']}, {_shown(how['warmup_steps'])} warm-up steps"),
        ("optimiser", f"{how['optimizer']}, weight decay {_shown(how['weight_decay'])}"),
        ("gradient clipping", _shown(clipping) if clipping else "none"),
        (
            "rows per optimiser step",
            f"{batch['global_batch_size']} ({_micro_batches(run)})",
        ),
        ("epochs, optimiser steps", f"{_shown(how['num_train_epochs'])}, {_count(how['optimizer_steps'])}"),
        ("seed", _shown(seeds["seed"]) + ("" if seeds["data_seed"] is None else f", data {seeds['data_seed']}")),
    ]


def speed_rows(run: FinishedRun) -> Rows:
    """Wall time and rates, as far as they were measured."""
    timing, results = run.manifest["timing"], run.results
    seconds = timing.get("train_seconds", results.get("train_runtime"))
    rows = []
    if seconds is not None:
        rows.append(("training time", duration(seconds)))
    if (wall := timing.get("wall_seconds")) is not None:
        rows.append(("wall time in all", duration(wall)))
    if (tokens := timing.get("tokens_per_second")) is not None:
        rows.append(("tokens per second", _shown(round(tokens))))
    if (pairs := results.get("train_samples_per_second")) is not None:
        rows.append(("rows per second", _shown(pairs)))
    if (model_flops := timing.get("mfu")) is not None:
        rows.append(("model FLOPs utilisation", f"{100 * model_flops:.1f} %"))
    weights = sum(file.stat().st_size for file in run.path.glob("*.safetensors"))
    return [*rows, ("size of the weights", _bytes(weights))]


def technical_rows(run: FinishedRun) -> Rows:
    """Architecture and objective, hardware, software."""
    manifest = run.manifest
    hardware, distributed, model = manifest["hardware"], manifest["distributed"], manifest["model"]
    gpus = [f"{gpu['name']} ({gpu['memory_gib']:.0f} GiB)" for gpu in hardware["gpus"]]
    accelerators = [f"{gpus.count(gpu)} x {gpu}" for gpu in dict.fromkeys(gpus)]
    cpu = f"{hardware['cpu']}, {hardware['cpu_cores']} cores, {_shown(hardware['ram_gib'])} GiB"
    stage = distributed["zero_stage"]
    spread = _plural(distributed["world_size"], "process")
    if distributed["type"] != "NO":
        spread += f", {distributed['type']}" + (f" ZeRO-{stage}" if stage is not None else "")
    return [
        ("architecture", f"{model['class']}, {_count(model['parameters'])} parameters"),
        ("trained parameters", _count(model["trainable_parameters"])),
        ("precision in training", f"{', '.join(model['training_dtypes'])}; autocast {distributed['mixed_precision']}"),
        ("attention", str(manifest["attention_backend"] or model["class"])),
        ("hardware", ", ".join(accelerators) if accelerators else f"CPU: {cpu}"),
        ("processes", spread),
        ("software", "alignment-handbook (SimPO edition), transformers, accelerate"),
    ]


def result_rows(run: FinishedRun) -> list[dict[str, str]]:
    """Metrics of the last logged step beside those of the last evaluation."""
    rows = []
    for key, words in METRICS.items():
        train = run.last_logged(key)
        held_out = run.results.get(f"eval_{key}", run.last_logged(f"eval_{key}"))
        if train is not None or held_out is not None:
            rows.append({"name": words, "train": _shown(train), "eval": _shown(held_out)})
    return rows


def formula_note(run: FinishedRun, method: Method) -> str:
    """The constants of the formula as this run had them."""
    stated = run.manifest["recipe"]
    constants = [rf"$\beta = {_shown(stated['beta'])}$"] if stated.get("beta") is not None else []
    if stated.get("beta") is not None and stated.get("gamma_beta_ratio") is not None:
        constants.append(rf"$\gamma = {_shown(stated['beta'] * stated['gamma_beta_ratio'])}$")
    if not constants:
        return ""
    what = "a preferred answer $y_w$ and a rejected one $y_l$" if method.data == "preference" else "an answer $y$"
    return f"for a prompt $x$ with {what}; here {' and '.join(constants)}."


def reproducibility(run: FinishedRun) -> str:
    """What to check out, and where the rest is written."""
    code, resumed = run.manifest["code"], run.manifest["resumed_from"]
    if code is None:
        where = "The code was not in a git checkout."
    else:
        changed = ", with local changes" if code["dirty"] else ""
        where = f"Code at commit `{code['commit'][:12]}`{changed}."
    went_on = f" The run went on from `{resumed}`." if resumed else ""
    return (
        f"{where}{went_on} [run_manifest.json](run_manifest.json) holds the resolved recipe, revisions and "
        "fingerprints of the data, seeds, library versions and hardware. The run was started by"
    )


def command_line(run: FinishedRun) -> str:
    """The command that started the run, as one would type it."""
    processes = run.manifest["distributed"]["world_size"]
    launcher = ["python"] if processes == 1 else ["accelerate", "launch", "--num_processes", str(processes)]
    return shlex.join([*launcher, *run.manifest["command"]])


def tracking_rows(run: FinishedRun) -> Iterator[tuple[str, str]]:
    """Links to the experiment trackers."""
    for name, link in run.manifest["tracking"].items():
        yield name, f"[{link}]({link})" if str(link).startswith("http") else f"`{link}`"


def duration(seconds: float) -> str:
    """`3725` -> `1 h 2 min`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _micro_batches(run: FinishedRun) -> str:
    batch = run.manifest["batch"]
    packed = run.manifest["recipe"].get("packing")
    processes, micro = _plural(batch["world_size"], "process"), _plural(batch["micro_batches"], "micro-batch")
    return f"{processes}, {micro}, {'packed' if packed else _count(batch['per_device_train_batch_size'])} rows"


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}{'es' if number > 1 else ''}"


def _count(number: int) -> str:
    return f"{number:,}"


def _bytes(number: float) -> str:
    for unit in ("B", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}"
        number /= 1000
    return f"{number:.2f} GB"


def _shown(value: Any) -> str:
    """A value as a table cell: four significant digits, no line breaks, no column separators."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else str(value)
    if isinstance(value, int):
        return _count(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_shown(item)}" for key, item in value.items())
    return str(value).replace("\n", " ").replace("|", r"\|")
