"""Warnings about what the recipe states: rates, schedule, objective, batch, precision."""

from __future__ import annotations

from alignment.recipe.warnings.facts import Facts
from alignment.recipe.warnings.published import PUBLISHED, Range

FEW_STEPS = 100
MANY_EPOCHS = 3
_BATCH_FACTOR = 4
_BETA_FACTOR = 4
_RATIO_FACTOR = 2
_FEW_LOGS = 10

_WEIGHT = 0.02
"""Size of a typical weight: the standard deviation that most models are initialized with."""
_LEAST_UPDATE = {"bfloat16": 2.0**-14, "float16": 2.0**-17}
"""Half the distance of two neighbors near `_WEIGHT`, which has 2^-6: 2^-6 * 2^-7 / 2 and 2^-6 * 2^-10 / 2. A smaller
update rounds to none."""


def high_learning_rate(facts: Facts) -> str | None:
    known = PUBLISHED.get(facts.method)
    if known is None or facts.adapters or facts.learning_rate < known.too_high:
        return None
    return (
        f"learning_rate {facts.learning_rate:g} is {facts.learning_rate / known.rates[1]:.3g} times the highest rate "
        f"of {known.source}, which fully fine-tune at {_between(known.rates)}; {known.broken}. Lower it"
    )


def low_learning_rate(facts: Facts) -> str | None:
    known = PUBLISHED.get(facts.method)
    if known is None or facts.learning_rate > known.rates[0] / 30:
        return None
    return (
        f"learning_rate {facts.learning_rate:g} is {known.rates[0] / facts.learning_rate:.3g} times lower than the "
        f"lowest rate of {known.source}, {known.rates[0]:g}: nothing will be learned in a run of usual length. Raise it"
    )


def lora_at_full_rate(facts: Facts) -> str | None:
    known = PUBLISHED.get(facts.method)
    if known is None or not facts.adapters or facts.learning_rate > 2 * known.rates[1]:
        return None
    return (
        f"learning_rate {facts.learning_rate:g} is a rate of full fine-tuning ({_between(known.rates)}: "
        f"{known.source}), and use_peft trains adapters alone; the handbook's adapters take ten times as much (DPO: "
        f"5e-6 beside 5e-7, SFT: 2e-4 beside 2e-5). Try {10 * known.rates[1]:g}"
    )


def unusual_beta(facts: Facts) -> str | None:
    known = PUBLISHED.get(facts.method)
    if known is None or known.beta is None or facts.beta is None or facts.loss_type not in ("sigmoid", "hinge"):
        return None
    if known.beta[0] / _BETA_FACTOR <= facts.beta <= known.beta[1] * _BETA_FACTOR:
        return None
    return (
        f"beta {facts.beta:g} is far from {_between(known.beta)}, all that {known.source} used; the beta of another "
        "method means another thing (2 to 10 for SimPO, 0.01 to 0.1 for DPO, 0.1 for ORPO)"
    )


def unusual_margin(facts: Facts) -> str | None:
    known = PUBLISHED.get(facts.method)
    if known is None or known.ratio is None or facts.gamma_beta_ratio is None:
        return None
    if facts.gamma_beta_ratio <= known.ratio[1] * _RATIO_FACTOR:
        return None
    return (
        f"gamma_beta_ratio {facts.gamma_beta_ratio:g} is far above {_between(known.ratio)} of {known.source}; it is "
        "gamma divided by beta, the distance of two mean log-probabilities, so a gamma itself would be written "
        f"{facts.gamma_beta_ratio:g} / {facts.beta:g} = {facts.gamma_beta_ratio / (facts.beta or 1):g}"
    )


def no_warmup(facts: Facts) -> str | None:
    if facts.warmup > 0 or facts.schedule == "greedy":
        return None
    return (
        f"the first step is taken at the full learning_rate {facts.learning_rate:g}, while Adam's moments rest on a "
        "single gradient; all released SimPO and DPO models warmed up over a tenth of the run (warmup_ratio: 0.1)"
    )


def rounded_updates(facts: Facts) -> str | None:
    least = _LEAST_UPDATE.get(facts.dtype)
    if least is None or facts.adapters or facts.master_weights or facts.learning_rate >= least:
        return None
    return (
        f"dtype {facts.dtype} keeps the trained weights with neighbors so far apart that a weight of {_WEIGHT} only "
        f"moves by updates above {least:.2g}, and Adam's are about learning_rate {facts.learning_rate:g}: most are "
        "rounded away. Write dtype: float32, and bf16: true for the arithmetic (under DeepSpeed, whose optimizer keeps "
        "fp32 weights, this does not arise)"
    )


def unusual_batch(facts: Facts) -> str | None:
    known = PUBLISHED.get(facts.method)
    if known is None or facts.batch is None or facts.adapters:
        return None
    usual_rate = known.rates[0] / 2 <= facts.learning_rate <= known.rates[1] * 2
    if not usual_rate or known.batch / _BATCH_FACTOR <= facts.batch <= known.batch * _BATCH_FACTOR:
        return None
    return (
        f"{facts.batch} rows an optimizer step at learning_rate {facts.learning_rate:g}: {known.source} took "
        f"{known.batch} at {_between(known.rates)}, and the rate that suits a batch grows with it. Write "
        f"global_batch_size: {known.batch}, or look for another rate"
    )


def few_steps(facts: Facts) -> str | None:
    if facts.steps is None or facts.steps >= FEW_STEPS:
        return None
    return (
        f"the whole run has {facts.steps} optimizer steps; the released models took 350 to 480, and a schedule with "
        f"warm-up says little below {FEW_STEPS}. More rows, or a smaller global_batch_size, make more steps"
    )


def many_epochs(facts: Facts) -> str | None:
    if facts.epochs is None or facts.epochs <= MANY_EPOCHS:
        return None
    return (
        f"every row is shown {facts.epochs:.3g} times; the released preference models saw "
        f"theirs once, and no published recipe here goes beyond {MANY_EPOCHS}: rows are memorized. Evaluate often"
    )


def rare_logging(facts: Facts) -> str | None:
    if facts.steps is None or not facts.logging_steps:
        return None
    every = facts.logging_steps if facts.logging_steps >= 1 else facts.logging_steps * facts.steps
    if every <= 1 or facts.steps / every >= _FEW_LOGS:
        return None
    return (
        f"logging_steps {facts.logging_steps:g} logs {int(facts.steps // every)} times in {facts.steps} steps, and an "
        "alarm sees what is logged. The released models logged every 5 steps"
    )


def _between(values: Range) -> str:
    return f"{values[0]:g} to {values[1]:g}"
