"""What a single value may be, whatever the other values are: ranges and words.

Keys of one method alone have theirs in its row of `METHODS`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from alignment.bound import Bound, above, at_least, count
from alignment.errors import Fault, did_you_mean
from alignment.methods import METHODS

MOST_PAIRS = 2**20
"""Rows of one optimizer step: thousands of times what any published run used."""
_EXACT = 2**53
"""Whole numbers beyond it lose digits as floating-point numbers, which is what most of them become somewhere."""


_SEED = Bound(low=0, high=2**32 - 1, remedy="any such whole number, for example 42")
_SMOOTHING = at_least(0, "0 switches it off; at 0.5 the labels would say nothing", below=0.5)
_STEPS = above(0, "a number of steps, or a fraction of the run below 1")

BOUNDS: Mapping[str, Bound] = {
    "learning_rate": above(0, "the released SimPO models used 3e-7 to 1e-6"),
    "beta": above(0, "the released models used 2 to 10 for SimPO and 0.01 for DPO"),
    "gamma_beta_ratio": at_least(0, "the released SimPO models used 0.1 to 0.8; 0 asks for no margin"),
    "label_smoothing": _SMOOTHING,
    "sft_weight": at_least(0, "0 switches it off"),
    "max_length": count(2, 2**24, "the released models used 2048 tokens"),
    "max_prompt_length": count(1, 2**24, "the released models used 1800 tokens"),
    "tokens_per_device": at_least(1, "remove it to derive it from the device's memory"),
    "global_batch_size": count(1, MOST_PAIRS, "the released models used 128 pairs"),
    "per_device_train_batch_size": count(1, 2**16, "1 is the smallest micro-batch"),
    "per_device_eval_batch_size": count(1, 2**16, "1 is the smallest micro-batch"),
    "gradient_accumulation_steps": count(1, MOST_PAIRS, "1 means no accumulation"),
    "eval_accumulation_steps": at_least(1, "remove it to gather once"),
    "num_train_epochs": Bound(low=0, low_open=True, high=10_000, remedy="1 shows every pair once"),
    "max_grad_norm": at_least(0, "0 switches clipping off"),
    "weight_decay": at_least(0, "0 switches it off"),
    "adam_beta1": at_least(0, "0.9 is usual", below=1),
    "adam_beta2": at_least(0, "0.999 is usual", below=1),
    "adam_epsilon": above(0, "1e-8 is usual"),
    "warmup_ratio": at_least(0, "a share of the run such as 0.1; for a number of steps write warmup_steps", below=1),
    "warmup_steps": at_least(0, "0 switches warm-up off"),
    "logging_steps": _STEPS,
    "eval_steps": _STEPS,
    "save_steps": _STEPS,
    "save_every_minutes": above(0, "30 loses half an hour at a crash; remove it to save by steps"),
    "eval_delay": at_least(0, "0 evaluates from the start"),
    "save_total_limit": at_least(1, "remove it to keep every checkpoint"),
    "seed": _SEED,
    "data_seed": _SEED,
    "dataset_num_proc": count(1, 512, "1 works in this process"),
    "dataloader_num_workers": count(0, 128, "0 works in this process; each process of the run has so many"),
    "max_train_samples": at_least(1, "remove it to train on every row"),
    "max_eval_samples": at_least(1, "remove it to evaluate on every row"),
    "lora_r": count(1, 2**16, "16 is usual"),
    "lora_alpha": at_least(1, "twice lora_r is usual"),
    "lora_dropout": at_least(0, "0 switches it off", below=1),
    "neftune_noise_alpha": count(0, 1000, "5 is usual; remove it to switch it off"),
    "ddp_timeout": count(1, 10**8, "seconds; 1800 is the default"),
    "ddp_bucket_cap_mb": at_least(1, "megabytes; 25 is the default"),
    "torch_empty_cache_steps": at_least(1, "remove it to keep the cache"),
    "dataloader_prefetch_factor": count(1, 1024, "2 is the default"),
    "pad_to_multiple_of": count(1, 2**16, "8 or 64 suits the matrix units of a GPU"),
    "router_aux_loss_coef": at_least(0, "0 switches it off"),
    "label_smoothing_factor": at_least(0, "0 switches it off", below=1),
    "decontaminate.ngram": count(4, 1000, "13 is usual; fewer words find more"),
    "deduplicate.near": Bound(low=0.5, high=1, remedy="0.9 is usual; 1 tells word for word"),
    "prompts.decontaminate.ngram": count(4, 1000, "13 is usual; fewer words find more"),
    "prompts.near_duplicates": Bound(low=0.5, high=1, remedy="0.9 is usual; 1 tells word for word"),
    "prompts.min_tokens": at_least(1, "remove it for no limit"),
    "prompts.max_tokens": at_least(1, "remove it for no limit"),
    "prompts.max_rows": at_least(1, "remove it for no limit"),
    "scorer.batch_size": count(1, 2**20, "64 is the default"),
    "dataset_mixture.seed": _SEED,
    "dataset_mixture.datasets[].weight": Bound(
        low=0,
        low_open=True,
        high=1,
        remedy="a share of the source's rows; 1 takes all of them",
    ),
}

_TRACKERS = (
    "none", "all", "wandb", "tensorboard", "trackio", "mlflow", "comet_ml", "swanlab", "clearml", "neptune",
    "codecarbon", "dagshub", "dvclive", "azure_ml", "flyte",
)  # fmt: skip

_COMPILERS = (
    "inductor", "eager", "aot_eager", "cudagraphs", "onnxrt", "tensorrt", "tvm", "ofi", "fx2trt", "aot_ts_nvfuser",
    "nvprims_nvfuser", "aot_torchxla_trace_once", "torchxla_trace_once", "hpu_backend", "neuron",
)  # fmt: skip

WORDS: Mapping[str, tuple[str, ...]] = {
    "log_level": ("debug", "info", "warning", "error", "critical", "passive"),
    "log_level_replica": ("debug", "info", "warning", "error", "critical", "passive"),
    "report_to": _TRACKERS,
    "torch_compile_backend": _COMPILERS,
    "torch_compile_mode": ("default", "lite", "reduce-overhead", "max-autotune-no-cudagraphs", "max-autotune"),
    "debug": ("underflow_overflow", "tpu_metrics_debug"),
    "include_num_input_tokens_seen": ("all", "non_padding", "no"),
    "dataloader_multiprocessing_context": ("fork", "forkserver", "spawn"),
    "pad_to_multiple_of": ("auto",),
    "train_sampling_strategy": ("random", "sequential", "group_by_length"),
    "ddp_backend": ("nccl", "gloo", "mpi", "ccl", "hccl", "cncl", "mccl"),
}
"""Key -> the words it takes, where the config class only says `str`."""


def bound_faults(method: str | None, values: Mapping[str, Any]) -> Iterator[Fault]:
    """Every stated value that is outside its interval, no known word, or empty text. `values` may be nested."""
    own = METHODS[method] if method else None
    bounds = {**BOUNDS, **own.bounds} if own else BOUNDS
    choices = {**WORDS, **own.words} if own else WORDS
    for key, pattern, value in _leaves(values):
        bound = bounds.get(pattern)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if bound is not None and is_number and not bound.holds(value):
            yield Fault(key=key, value=value, rule=str(bound), remedy=bound.remedy)
        elif isinstance(value, int) and abs(value) > _EXACT:
            yield Fault(key=key, value=value, rule=f"must be between -{_EXACT} and {_EXACT}", remedy="count its digits")
        name = key.partition("[")[0]
        words = choices.get(name)
        if words and isinstance(value, str) and value not in words:
            yield Fault(
                key=key, value=value, rule=f"must be one of {', '.join(words)}", remedy=did_you_mean(value, words)
            )
        if isinstance(value, str) and not _writable(value):
            yield Fault(key=key, value=value, rule="must be text that can be written to a file", remedy="retype it")
        if isinstance(value, str) and not value.strip():
            yield Fault(key=key, value='""', rule="must not be empty text", remedy="give a value, or remove the line")


def _writable(text: str) -> bool:
    """Whether `text` is free of NUL and of halves of characters, which YAML escapes and a command line can bring."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _leaves(values: Mapping[str, Any], key: str = "", pattern: str = "") -> Iterator[tuple[str, str, Any]]:
    """(dotted key, the same with `[]` for list entries, value) of every scalar."""
    for name, value in values.items():
        yield from _walk(value, f"{key}.{name}" if key else name, f"{pattern}.{name}" if pattern else name)


def _walk(value: Any, key: str, pattern: str) -> Iterator[tuple[str, str, Any]]:
    if isinstance(value, Mapping):
        yield from _leaves(value, key, pattern)
    elif isinstance(value, list | tuple):
        for at, item in enumerate(value):
            yield from _walk(item, f"{key}[{at}]", f"{pattern}[]")
    else:
        yield key, pattern, value
