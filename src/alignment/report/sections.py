"""What each section of the model card says, as plain rows and sentences from a run's own files."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

from rich.filesize import decimal

from alignment.method import Method
from alignment.output.finished_run import FinishedRun
from alignment.recipe.fields import fields_of
from alignment.report.formatting import count, duration, last, median, plural, shown

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


def glance_rows(run: FinishedRun, base: str, license: str | None) -> Rows:
    """The table under the title."""
    model = run.manifest["model"]
    return [
        ("base model", base),
        ("method", run.manifest["method"]),
        ("parameters", count(model["parameters"])),
        ("training rows", count(run.manifest["data"]["rows"]["train"])),
        ("license", license or "that of the base model"),
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
                "rows": count(source["rows"]),
                "weight": shown(source.get("weight", 1.0)),
            }
        )
    return rows


def data_sentence(run: FinishedRun) -> str:
    """How many rows were trained and tested on, how many were left out, and what is odd about those that were not."""
    rows = run.manifest["data"]["rows"]
    held_out = f", {count(rows['test'])} held out for evaluation" if rows["test"] else ", none held out"
    dropped: dict[str, int] = {}
    for source in run.manifest["data"]["sources"]:
        for reason, rows_left in (source.get("dropped") or {}).items():
            dropped[reason] = dropped.get(reason, 0) + rows_left
    left_out = "".join(f" Dropped: {count(number)} ({reason})." for reason, number in dropped.items() if number)
    odd = run.manifest["data"].get("noted", {}).get("train", {})
    odd = {**odd, **_kept_all_the_same(run)}
    caveats = "".join(f" With a caveat: {count(number)} ({reason})." for reason, number in odd.items())
    return f"{count(rows['train'])} rows were trained on{held_out}.{left_out}{_truncated(run)}{caveats}"


def _kept_all_the_same(run: FinishedRun) -> dict[str, int]:
    """Reason -> duplicates and overlaps that the recipe reports without dropping them."""
    found = run.manifest["data"].get("cleaning", [])
    return {each["reason"]: each["rows"] for each in found if each["action"] == "report" and each["rows"]}


def _truncated(run: FinishedRun) -> str:
    cut = run.manifest["data"].get("tokens", {}).get("train", {}).get("cut", {})
    parts = ", ".join(f"{part} of {count(number)}" for part, number in cut.items() if number)
    return f" Truncated: {parts}." if parts else ""


def hyperparameter_rows(run: FinishedRun, method: Method) -> Rows:
    """The settings that decide the result, stated or derived."""
    stated, batch, how = _settings(run, method), run.manifest["batch"], run.manifest["optimization"]
    rows = [(f"`{key}`", shown(stated[key])) for key in (*SETTINGS, *method.bounds) if stated.get(key) is not None]
    clipping = how["clipping"]["effective"]
    seeds = run.manifest["seeds"]
    return [
        *rows,
        ("learning rate", shown(how["learning_rate"])),
        ("schedule", f"{how['lr_scheduler_type']}, {shown(how['warmup_steps'])} warm-up steps"),
        ("optimizer", f"{how['optimizer']}, weight decay {shown(how['weight_decay'])}"),
        ("gradient clipping", shown(clipping) if clipping else "none"),
        (
            "rows per optimizer step",
            f"{batch['global_batch_size']} ({_micro_batches(run)})",
        ),
        ("epochs, optimizer steps", f"{shown(how['num_train_epochs'])}, {count(how['optimizer_steps'])}"),
        ("seed", shown(seeds["seed"]) + ("" if seeds["data_seed"] is None else f", data {seeds['data_seed']}")),
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
    tokens = timing.get("tokens_per_second", median(run.logged("throughput/tokens_per_second")))
    if tokens is not None:
        rows.append(("tokens per second", count(round(tokens))))
    if (pairs := results.get("train_samples_per_second")) is not None:
        rows.append(("rows per second", shown(pairs)))
    if (used := median(run.logged("throughput/mfu"))) is not None:
        rows.append(("model FLOPs utilization", f"{100 * used:.1f} %"))
    if peaks := run.logged("throughput/peak_memory_gib"):
        rows.append(("peak memory of a process", f"{max(peaks):.1f} GiB"))
    weights = sum(file.stat().st_size for file in run.path.glob("*.safetensors"))
    return [*rows, ("size of the weights", decimal(weights))]


def technical_rows(run: FinishedRun) -> Rows:
    """Architecture and objective, hardware, software."""
    manifest = run.manifest
    hardware, distributed, model = manifest["hardware"], manifest["distributed"], manifest["model"]
    gpus = [f"{gpu['name']} ({gpu['memory_gib']:.0f} GiB)" for gpu in hardware["gpus"]]
    accelerators = [f"{gpus.count(gpu)} x {gpu}" for gpu in dict.fromkeys(gpus)]
    cpu = f"{hardware['cpu']}, {hardware['cpu_cores']} cores, {shown(hardware['ram_gib'])} GiB"
    stage = distributed["zero_stage"]
    spread = plural(distributed["world_size"], "process")
    if distributed["type"] != "NO":
        spread += f", {distributed['type']}" + (f" ZeRO-{stage}" if stage is not None else "")
    return [
        ("architecture", f"{model['class']}, {count(model['parameters'])} parameters"),
        ("trained parameters", count(model["trainable_parameters"])),
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
        train = last(run.logged(key))
        held_out = run.results.get(f"eval_{key}", last(run.logged(f"eval_{key}")))
        if train is not None or held_out is not None:
            rows.append({"name": words, "train": shown(train), "eval": shown(held_out)})
    return rows


def guard_lines(run: FinishedRun) -> Iterator[str]:
    """What was unusual before the start and while the run went on."""
    for warning in run.manifest.get("warnings", ()):
        known = ", acknowledged" if warning["acknowledged"] else ""
        yield f"warning `{warning['name']}`{known}: {warning['message']}."
    for alarm in run.manifest.get("alarms", ()):
        yield f"alarm `{alarm['name']}` at step {count(alarm['step'])}: {alarm['message']}"


def _settings(run: FinishedRun, method: Method) -> dict[str, Any]:
    """What the recipe states, and the constants of the formula that it leaves to their defaults."""
    defaults = fields_of(run.manifest["method"]).defaults
    constants = [key for key in ("beta", "gamma_beta_ratio", *method.symbols) if key in defaults]
    return {**{key: defaults[key] for key in constants}, **run.manifest["recipe"]}


def formula_note(run: FinishedRun, method: Method) -> str:
    """The constants of the formula as this run had them."""
    stated = _settings(run, method)
    constants = [rf"$\beta = {shown(stated['beta'])}$"] if stated.get("beta") is not None else []
    if stated.get("beta") is not None and stated.get("gamma_beta_ratio") is not None:
        constants.append(rf"$\gamma = {shown(stated['beta'] * stated['gamma_beta_ratio'])}$")
    constants += [f"${symbol} = {shown(stated[key])}$" for key, symbol in method.symbols.items() if key in stated]
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
    program, *words = run.manifest["command"]
    launcher = ["python"] if processes == 1 else ["accelerate", "launch", "--num_processes", str(processes)]
    if program == "alignment":
        return shlex.join([program, *words] if processes == 1 else [*launcher, "-m", "alignment.cli", *words])
    return shlex.join([*launcher, program, *words])


def tracking_rows(run: FinishedRun) -> Iterator[tuple[str, str]]:
    """Links to the experiment trackers."""
    for name, link in run.manifest["tracking"].items():
        yield name, f"[{link}]({link})" if str(link).startswith("http") else f"`{link}`"


def _micro_batches(run: FinishedRun) -> str:
    batch = run.manifest["batch"]
    packed = "tokens_per_device" in batch
    processes, micro = plural(batch["world_size"], "process"), plural(batch["micro_batches"], "micro-batch")
    if batch.get("fewest_micro_batches", batch["micro_batches"]) != batch["micro_batches"]:
        micro = f"{batch['fewest_micro_batches']} to {micro}"
    return f"{processes}, {micro}, {'packed' if packed else count(batch['per_device_train_batch_size'])} rows"
