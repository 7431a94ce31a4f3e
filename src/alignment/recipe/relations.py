"""Rules between keys. Each yields the faults it finds; a rule stays silent about values that are wrong by themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from alignment.errors import Fault, did_you_mean

from .batch import batch_faults
from .settings import Settings

Rule = Callable[[Settings], Iterator[Fault]]


_IN_MIXTURE = {
    "dataset_config": "config in each of dataset_mixture.datasets",
    "dataset_revision": "revision in each of dataset_mixture.datasets",
    "dataset_train_split": "split in each of dataset_mixture.datasets",
    "dataset_test_split": "dataset_mixture.test_split_size",
}


def relation_faults(settings: Settings) -> Iterator[Fault]:
    """Every broken relation of the recipe."""
    for rule in RULES:
        yield from rule(settings)


def _lengths(s: Settings) -> Iterator[Fault]:
    longest, prompt = s["max_length"], s["max_prompt_length"]
    if s.sound("max_length", "max_prompt_length") and longest and prompt and prompt >= longest:
        key = "max_prompt_length" if "max_prompt_length" in s.stated else "max_length"
        other = "max_length" if key == "max_prompt_length" else "max_prompt_length"
        rule, remedy = (
            (f"must be below max_length {longest}", "lower it, or raise max_length")
            if key == "max_prompt_length"
            else (f"must be above max_prompt_length {prompt} (its default)", "raise it, or state a lower max_prompt_length")
        )
        if s.sound(other):
            yield Fault(key=key, value=s[key], rule=rule, remedy=remedy)


def _smoothing(s: Settings) -> Iterator[Fault]:
    loss = s["loss_type"] if isinstance(s["loss_type"], list) else [s["loss_type"]]
    if s.sound("loss_type", "label_smoothing") and "hinge" in loss and (s["label_smoothing"] or 0) > 0:
        yield Fault(
            key="label_smoothing",
            value=s["label_smoothing"],
            rule="must be 0 with loss_type hinge, which has no smoothed form",
            remedy="remove it, or use loss_type: sigmoid",
        )


def _warmup(s: Settings) -> Iterator[Fault]:
    if s.stated.get("warmup_ratio") and s.stated.get("warmup_steps"):
        yield Fault(
            key="warmup_ratio",
            value=s["warmup_ratio"],
            rule=f"contradicts warmup_steps {s['warmup_steps']:g}",
            remedy="keep one of the two",
        )
    steps = s.stated.get("warmup_steps")
    if s.sound("warmup_steps") and steps is not None and steps > 1 and steps != int(steps):
        yield Fault(
            key="warmup_steps",
            value=steps,
            rule="must be a whole number of steps, or a share of the run below 1",
            remedy="round it",
        )


def _steps(s: Settings) -> Iterator[Fault]:
    for key in ("logging_steps", "eval_steps", "save_steps"):
        value = s.stated.get(key)
        if s.sound(key) and isinstance(value, float) and value > 1 and value != int(value):
            yield Fault(
                key=key,
                value=value,
                rule="must be a whole number of steps, or a fraction of the run below 1",
                remedy="round it",
            )
    most = s.stated.get("max_steps")
    if s.sound("max_steps") and most is not None and most != -1 and most < 1:
        yield Fault(
            key="max_steps",
            value=most,
            rule="must be at least 1, or -1 for num_train_epochs to decide",
            remedy="remove it, or state the number of optimiser steps",
        )


def _precision(s: Settings) -> Iterator[Fault]:
    for one, other in (("bf16", "fp16"), ("bf16_full_eval", "fp16_full_eval")):
        if s.sound(one, other) and s[one] and s[other]:
            yield Fault(key=one, value=True, rule=f"contradicts {other}: true", remedy="keep one of the two")
    if s.sound("fp16", "dtype", "use_peft") and s["fp16"] and s["dtype"] == "float16" and not s["use_peft"]:
        yield Fault(
            key="dtype",
            value="float16",
            rule="cannot hold the weights that fp16: true trains, since their gradients are scaled in float32",
            remedy="write dtype: float32",
        )


def _source(s: Settings) -> Iterator[Fault]:
    if not s.sound("dataset_name", "dataset_mixture"):
        return
    name, mixture = s["dataset_name"], s["dataset_mixture"]
    if name is None and mixture is None:
        yield Fault(
            key="dataset_name",
            rule="must be stated, unless dataset_mixture is",
            remedy="give a Hub id, or a local JSON, JSONL or Parquet file or folder",
        )
    if name is not None and mixture is not None:
        yield Fault(
            key="dataset_name",
            value=name,
            rule="contradicts dataset_mixture",
            remedy="keep one of the two; `dataset_mixture: null` drops an inherited mixture",
        )
    elif mixture is not None:
        for key, instead in _IN_MIXTURE.items():
            if s.sound(key) and s.changed(key):
                yield Fault(key=key, value=s[key], rule="belongs to dataset_name", remedy=f"remove it; write {instead}")


def _mixture(s: Settings) -> Iterator[Fault]:
    mixture = s["dataset_mixture"]
    if mixture is None or not s.sound("dataset_mixture"):
        return
    sources = mixture["datasets"]
    if not sources:
        yield Fault(key="dataset_mixture.datasets", rule="must list at least one data set", remedy="give its id")
    size = mixture.get("test_split_size")
    if size is not None and (size <= 0 or (size >= 1 and size != int(size))):
        yield Fault(
            key="dataset_mixture.test_split_size",
            value=size,
            rule="must be a share of the rows between 0 and 1, or a whole number of rows",
            remedy="such as 0.05 or 500",
        )
    if s.method is None:
        return
    from alignment.methods import METHODS

    for at, source in enumerate(sources):
        columns = source.get("columns")
        if columns is None or METHODS[s.method].data != "preference":
            continue
        missing = [column for column in ("chosen", "rejected") if column not in columns]
        if missing:
            yield Fault(
                key=f"dataset_mixture.datasets[{at}].columns",
                value=columns,
                rule=f"must keep {' and '.join(missing)}, which {s.method} trains on",
                remedy="add them, or remove columns to keep all",
            )


def _evaluation(s: Settings) -> Iterator[Fault]:
    strategy = s.stages("eval_strategy")
    wanted = strategy != "no" or (s.sound("do_eval") and s["do_eval"])
    if strategy != "no" and s.stated.get("do_eval") is False:
        yield Fault(
            key="do_eval", value=False, rule=f"contradicts eval_strategy {strategy}", remedy="remove one of the two"
        )
    if not wanted:
        return
    asked = f"eval_strategy {strategy}" if strategy != "no" else "do_eval: true"
    mixture = s["dataset_mixture"]
    if s.sound("dataset_mixture") and mixture is not None and mixture.get("test_split_size") is None:
        yield Fault(
            key="dataset_mixture.test_split_size",
            rule=f"must be stated, since {asked} needs test data",
            remedy="such as 0.05 or 500, or write eval_strategy: no",
        )
    if mixture is None and "dataset_test_split" in s.stated and s["dataset_test_split"] is None:
        yield Fault(
            key="dataset_test_split",
            value="null",
            rule=f"must name a split, since {asked} needs test data",
            remedy="such as test, or write eval_strategy: no",
        )
    split = s.stated.get("dataset_test_split") or "test"
    if mixture is None and s.sound("dataset_test_split", "dataset_train_split") and split == s["dataset_train_split"]:
        yield Fault(
            key="dataset_test_split",
            value=split,
            rule="must not be the split that is trained on",
            remedy="name another, or cut one in two: train[:95%] and train[95%:]",
        )


def _best_model(s: Settings) -> Iterator[Fault]:
    if not (s.sound("load_best_model_at_end") and s["load_best_model_at_end"]):
        return
    evaluated, saved = s.stages("eval_strategy"), s.stages("save_strategy")
    if s.sound("eval_strategy", "save_strategy") and saved not in (evaluated, "best"):
        yield Fault(
            key="load_best_model_at_end",
            value=True,
            rule=f"needs save_strategy {saved} to be eval_strategy {evaluated}",
            remedy="make them equal",
        )


def _adapters(s: Settings) -> Iterator[Fault]:
    if not s.sound("use_peft", "load_in_4bit", "load_in_8bit"):
        return
    if s["load_in_4bit"] and s["load_in_8bit"]:
        yield Fault(key="load_in_8bit", value=True, rule="contradicts load_in_4bit: true", remedy="keep one of the two")
    peft = s["use_peft"]
    for key in ("load_in_4bit", "load_in_8bit"):
        if s[key] and not peft:
            yield Fault(
                key=key, value=True, rule="cannot be trained without adapters", remedy="add use_peft: true (QLoRA)"
            )
    for key in s.stated:
        if not peft and (key.startswith("lora_") or key in ("use_rslora", "use_dora")) and s.changed(key):
            yield Fault(
                key=key, value=s[key], rule="has no effect without use_peft: true", remedy="add use_peft: true, or remove it"
            )
        if not s["load_in_4bit"] and "bnb_" in key and s.changed(key):
            yield Fault(
                key=key, value=s[key], rule="has no effect without load_in_4bit: true", remedy="add it, or remove this"
            )


def _attention(s: Settings) -> Iterator[Fault]:
    name = s["attn_implementation"]
    if name is None or not s.sound("attn_implementation") or "/" in name:
        return
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    known = sorted({"eager", *ALL_ATTENTION_FUNCTIONS.valid_keys()} - {"paged"})
    known = [word for word in known if "|" not in word]
    if name not in known:
        yield Fault(
            key="attn_implementation",
            value=name,
            rule=f"must be one of {', '.join(known)}, or a kernel repository",
            remedy=did_you_mean(name, known) or "eager works everywhere",
        )


def _batch(s: Settings) -> Iterator[Fault]:
    keys = ("global_batch_size", "per_device_train_batch_size", "gradient_accumulation_steps")
    if s.sound(*keys):
        yield from batch_faults(s.stated)


def _loss_weights(s: Settings) -> Iterator[Fault]:
    weights, losses = s["loss_weights"], s["loss_type"]
    if weights is not None and s.sound("loss_weights", "loss_type") and len(weights) != len(losses or []):
        yield Fault(
            key="loss_weights",
            value=weights,
            rule=f"must be as many as the losses of loss_type ({len(losses)})",
            remedy="give one weight for each",
        )


RULES: tuple[Rule, ...] = (
    _lengths,
    _smoothing,
    _warmup,
    _steps,
    _precision,
    _source,
    _mixture,
    _evaluation,
    _best_model,
    _adapters,
    _attention,
    _batch,
    _loss_weights,
)
