"""All that a warning may look at. What is not known yet is `None`, and what needs it is judged later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from alignment.methods import METHODS
from alignment.recipe.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A run before its start."""

    method: str
    pairs: bool
    """Rows are preference pairs."""
    adapters: bool
    """LoRA; no weight of the model itself is trained."""
    dtype: str
    """Precision that the weights are kept in, as the recipe states it."""
    learning_rate: float
    warmup: float
    """Steps of warm-up, or a share of the run below 1."""
    schedule: str
    epochs: float | None
    """Times that every row is shown; unknown when `max_steps` decides and the rows are not known."""
    logging_steps: float
    """Steps between two logs, or a share of the run below 1; 0 when it does not log by steps."""
    loss_type: str
    beta: float | None = None
    gamma_beta_ratio: float | None = None

    batch: int | None = None
    """Rows of one optimizer step."""
    steps: int | None = None
    """Optimizer steps of the whole run."""
    master_weights: bool | None = None
    """The optimizer keeps fp32 weights of its own beside those of `dtype`."""
    header: str | None = None
    """What the chat template writes for `add_generation_prompt`; empty when nothing."""
    own_template: bool | None = None
    """The base model's tokenizer came with a chat template."""
    rows: int | None = None
    """Rows that are trained on."""
    distinct_rows: int | None = None
    evaluation_rows: int | None = None
    seen_in_training: int | None = None
    """Rows of the evaluation that are trained on, too."""
    chosen_tokens: float | None = None
    """Mean length of the preferred answers."""
    trained_tokens: float | None = None
    """Mean length of what is trained in a conversation."""
    rejected_tokens: float | None = None


def facts_of(method: str, resolved: Mapping[str, Any]) -> Facts:
    """What a checked recipe alone tells."""
    s = Settings(method, resolved, set())
    steps = s["max_steps"] if (s["max_steps"] or 0) > 0 else None
    by_steps = (s["logging_strategy"] or "steps") == "steps"
    loss = s["loss_type"]
    return Facts(
        method=method,
        pairs=METHODS[method].data == "preference",
        adapters=bool(s["use_peft"]),
        dtype=s["dtype"] or "float32",
        learning_rate=s["learning_rate"],
        warmup=resolved.get("warmup_ratio") or s["warmup_steps"] or 0.0,
        schedule=str(s["lr_scheduler_type"]),
        epochs=None if steps else s["num_train_epochs"],
        logging_steps=s["logging_steps"] if by_steps else 0,
        loss_type=" ".join(loss) if isinstance(loss, list | tuple) else str(loss or "sigmoid"),
        beta=s["beta"],
        gamma_beta_ratio=s["gamma_beta_ratio"],
        batch=resolved.get("global_batch_size"),
        steps=steps,
    )


def with_rows_at_hand(facts: Facts, inspected: Mapping[str, Any]) -> Facts:
    """`facts` with what `make check` found in the rows that are on this machine (`run.inspect_data.inspect`)."""
    train = ((inspected.get("data") or {}).get("splits") or {}).get("train")
    if train is None or not train["rows"]:
        return facts
    rows = train["rows"]
    lengths = ((inspected.get("tokens") or {}).get("train") or {}).get("lengths") or {}
    return replace(
        facts,
        rows=rows,
        distinct_rows=rows - train["exact_duplicates"],
        steps=facts.steps or steps_of(rows, batch=facts.batch, epochs=facts.epochs),
        chosen_tokens=lengths.get("chosen", {}).get("mean"),
        rejected_tokens=lengths.get("rejected", {}).get("mean"),
    )


def steps_of(rows: int, *, batch: int | None, epochs: float | None) -> int | None:
    """Optimizer steps of a run that is not limited by `max_steps`."""
    return None if batch is None or epochs is None else ceil(ceil(rows / batch) * epochs)
