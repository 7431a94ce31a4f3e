"""Healthy and sick small runs, and the alarms that each raises: what the thresholds of the alarms were set by.

    python benchmarks/alarms.py [--only NAME ...] [--work FOLDER] [--again]

Every run goes through the command line. Its output stays in the work folder, and without `--again` a log that is there
is replayed instead of trained anew, so a threshold is tried in a second.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from alignment.methods import METHODS  # noqa: E402
from alignment.run.callbacks.alarms.detector import Course  # noqa: E402
from alignment.run.callbacks.alarms.table import DETECTORS  # noqa: E402

Rows = list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One run."""

    method: str
    expected: tuple[str, ...] = ()
    """Any of these alarms is the right one; none for a healthy run."""
    rows: str = "learnable"
    """Key of `ROWS`."""
    test_rows: str | None = None
    """The same for the evaluation; as `rows` when absent."""
    count: int = 240
    model: str = "gemma"
    """A tiny Gemma-2 of random weights, or `smollm`: the bundled SmolLM2-135M-Instruct."""
    settings: Mapping[str, Any] = field(default_factory=dict)


def learnable(count: int, seed: int) -> Rows:
    """Each answer ends in the word that tells the sides apart."""
    from tiny import preference_rows

    return preference_rows(count, seed=seed)


def noisy(count: int, seed: int) -> Rows:
    """`learnable`, every fourth label flipped."""
    return [flipped(row) if number % 4 == 0 else row for number, row in enumerate(learnable(count, seed))]


def contradicted(count: int, seed: int) -> Rows:
    """`learnable` the other way round."""
    return [flipped(row) for row in learnable(count, seed)]


def meaningless(count: int, seed: int) -> Rows:
    """Nothing tells the sides apart: words at random, labels at random."""
    rng = random.Random(seed)
    rows = [without_last_word(row) for row in learnable(count, seed)]
    return [flipped(row) if rng.random() < 0.5 else row for row in rows]


def repeated(count: int, seed: int) -> Rows:
    """One pair, again and again."""
    return learnable(1, seed) * count


def house_style(count: int, seed: int) -> Rows:
    """The quickstart's own pairs, from one end or the other."""
    name = "test" if count < 100 else "train"
    lines = (ROOT / f"recipes/quickstart/data/{name}.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return random.Random(seed).sample(rows, min(count, len(rows)))


def house_style_flipped(count: int, seed: int) -> Rows:
    rng = random.Random(seed)
    return [flipped(row) if rng.random() < 0.5 else row for row in house_style(count, seed)]


ROWS: Mapping[str, Callable[[int, int], Rows]] = {
    made.__name__: made
    for made in (learnable, noisy, contradicted, meaningless, repeated, house_style, house_style_flipped)
}


def flipped(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "chosen": row["rejected"], "rejected": row["chosen"]}


def without_last_word(row: dict[str, Any]) -> dict[str, Any]:
    def cut(side: list[dict[str, str]]) -> list[dict[str, str]]:
        return [side[0], {**side[1], "content": side[1]["content"].rpartition(" ")[0]}]

    return {**row, "chosen": cut(row["chosen"]), "rejected": cut(row["rejected"])}


COLLAPSE = ("loss-spike", "gradient-spike", "chosen-falls", "rejected-falls", "margins-without-accuracy")
QUICKSTART = {
    **{"use_peft": True, "lora_r": 16, "lora_alpha": 32, "lora_dropout": 0.0, "lora_target_modules": "all-linear"},
    **{"beta": 5, "gamma_beta_ratio": 0.5, "learning_rate": 4e-4, "warmup_ratio": 0.12, "max_grad_norm": 1.0},
    **{"max_length": 192, "max_prompt_length": 96, "max_eval_samples": 12},
}


def cases() -> dict[str, Case]:
    made: dict[str, Case] = {}
    rates = {"simpo": 1e-3, "orpo": 1e-3, "dpo": 5e-4, "sft": 1e-3}
    for method, rate in rates.items():
        for seed in (0, 1, 2):
            for batch in (2, 4, 16):
                made[f"{method}-s{seed}-b{batch}"] = Case(
                    method=method,
                    settings={"learning_rate": rate, "seed": seed, "global_batch_size": batch},
                )
        made[f"{method}-gentle"] = Case(method=method, settings={"learning_rate": rate / 5})
        made[f"{method}-noisy"] = Case(method=method, rows="noisy", settings={"learning_rate": rate / 2})
        made[f"{method}-log5"] = Case(method=method, count=800, settings={"learning_rate": rate, "logging_steps": 5})
        made[f"{method}-lora"] = Case(
            method=method,
            settings={"learning_rate": 3 * rate, "use_peft": True, "lora_target_modules": "all-linear"},
        )
        made[f"{method}-short"] = Case(method=method, count=32, settings={"learning_rate": rate})
        broken = COLLAPSE if method in ("simpo", "dpo") else ()  # with the likelihood in the loss it only trains faster
        made[f"{method}-rate-x100"] = Case(
            method=method, expected=broken, settings={"learning_rate": 100 * rate, "max_grad_norm": 0}
        )
        made[f"{method}-rate-x100-clipped"] = Case(
            method=method, expected=broken, settings={"learning_rate": 100 * rate}
        )
        made[f"{method}-rate-1e-12"] = Case(
            method=method, expected=("no-movement", "constant-loss"), settings={"learning_rate": 1e-12}
        )
        made[f"{method}-rate-1e-9"] = Case(
            method=method, expected=("no-movement", "constant-loss"), settings={"learning_rate": 1e-9}
        )
        made[f"{method}-overfit"] = Case(
            method=method,
            expected=("overfitting",),
            rows="meaningless",
            count=8,
            settings={"learning_rate": rate, "num_train_epochs": 30, "eval_steps": 5},
        )
        made[f"{method}-repeated"] = Case(
            method=method,
            expected=("constant-loss", "overfitting"),
            rows="repeated",
            settings={"learning_rate": rate},
        )
        for seed in (3, 4):
            made[f"{method}-brief-s{seed}"] = Case(
                method=method,
                count=192,
                settings={"learning_rate": rate / 3, "global_batch_size": 8, "seed": seed},
            )
            made[f"{method}-unevaluated-s{seed}"] = Case(
                method=method,
                rows="noisy" if seed == 4 else "learnable",
                count=160,
                settings={"learning_rate": rate / 2, "seed": seed, "eval_strategy": "no"},
            )
        made[f"{method}-heart"] = Case(
            method=method,
            # A likelihood takes longer: after these 30 epochs it is still falling, and no evaluation tells.
            expected=("overfitting",) if method in ("simpo", "dpo") else (),
            rows="meaningless",
            count=8,
            settings={"learning_rate": rate, "num_train_epochs": 30, "eval_strategy": "no"},
        )
        made[f"{method}-one-pair"] = Case(
            method=method,
            expected=("overfitting", "constant-loss"),
            rows="repeated",
            settings={"learning_rate": rate, "eval_strategy": "no"},
        )
        made[f"{method}-meaningless"] = Case(
            method=method,
            expected=() if method == "sft" else ("no-movement", "overfitting"),  # rows without labels have none wrong
            rows="meaningless",
            settings={"learning_rate": rate},
        )
    for method in ("simpo", "dpo"):
        made[f"{method}-few-rows-that-tell"] = Case(  # eight rows show the word that tells the sides apart
            method=method, count=8, settings={"learning_rate": rates[method] / 5, "num_train_epochs": 10}
        )
        made[f"{method}-contradicted"] = Case(
            method=method,
            expected=("below-chance", "overfitting"),
            test_rows="contradicted",
            settings={"learning_rate": rates[method]},
        )
        made[f"{method}-rate-x30"] = Case(  # DPO bears it here, and ranks every pair of the evaluation rightly
            method=method,
            expected=COLLAPSE if method == "simpo" else (),
            settings={"learning_rate": 30 * rates[method]},
        )
    made["simpo-beta10"] = Case(
        method="simpo", settings={"learning_rate": 1e-3, "beta": 10, "gamma_beta_ratio": 0.5, "max_grad_norm": 0}
    )
    made["simpo-hinge"] = Case(
        method="simpo", expected=("constant-loss",), settings={"learning_rate": 1e-3, "loss_type": "hinge"}
    )
    made["simpo-epochs3"] = Case(method="simpo", count=96, settings={"learning_rate": 5e-4, "num_train_epochs": 3})
    for seed in (42, 1):
        made[f"smollm-simpo-s{seed}"] = Case(
            method="simpo", rows="house_style", count=104, model="smollm", settings={**QUICKSTART, "seed": seed}
        )
    made["smollm-simpo-x100"] = Case(
        method="simpo",
        expected=COLLAPSE,
        rows="house_style",
        count=104,
        model="smollm",
        settings={**QUICKSTART, "learning_rate": 4e-2},
    )
    made["smollm-simpo-1e-12"] = Case(
        method="simpo",
        expected=("no-movement",),
        rows="house_style",
        count=104,
        model="smollm",
        settings={**QUICKSTART, "learning_rate": 1e-12},
    )
    made["smollm-simpo-flipped"] = Case(  # 13 steps are too few to tell labels at random from a slow start
        method="simpo", rows="house_style_flipped", count=104, model="smollm", settings=QUICKSTART
    )
    dpo = {key: value for key, value in QUICKSTART.items() if key not in ("gamma_beta_ratio", "max_prompt_length")}
    made["smollm-dpo"] = Case(
        method="dpo",
        rows="house_style",
        count=104,
        model="smollm",
        settings={**dpo, "beta": 0.1, "learning_rate": 1e-4},
    )
    return made


def recipe_of(name: str, case: Case, work: Path) -> Path:
    """The recipe of `case`, with its rows and its model, in `work`."""
    from tiny import save_gemma2, write_jsonl

    folder = work / name
    model = work / "gemma"
    if case.model == "gemma" and not (model / "config.json").exists():
        save_gemma2(model)
    rows = ROWS[case.rows](case.count, case.settings.get("seed", 0))
    write_jsonl(folder / "data/train.jsonl", rows)
    write_jsonl(folder / "data/test.jsonl", ROWS[case.test_rows or case.rows](24, 1000))
    settings = {
        "method": case.method,
        "model_name_or_path": str(model) if case.model == "gemma" else "bundled:SmolLM2-135M-Instruct",
        "dataset_name": str(folder / "data"),
        "output_dir": str(folder / "out"),
        "overwrite_output_dir": True,
        "use_cpu": True,
        "num_train_epochs": 1,
        "lr_scheduler_type": "cosine",
        "warmup_ratio": 0.1,
        "global_batch_size": 8 if case.model == "smollm" else 4,
        "per_device_train_batch_size": 2,
        "max_grad_norm": 1.0,
        "logging_steps": 1,
        "eval_strategy": "steps",
        "eval_steps": 10,
        "save_strategy": "no",
        "max_length": 96,
        **({"max_prompt_length": 64} if case.method in ("simpo", "orpo") else {}),
        **({"beta": 2.0, "gamma_beta_ratio": 0.5} if case.method == "simpo" else {}),
        **({"beta": 0.1} if case.method in ("dpo", "orpo") else {}),
        **case.settings,
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def train(name: str, case: Case, work: Path) -> str | None:
    """Train `case`; returns what went wrong."""
    path = recipe_of(name, case, work)
    command = [sys.executable, "-m", "alignment.cli", "train", "--config", str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    return ended.stderr[-2000:] if ended.returncode else None


def replayed(case: Case, out: Path) -> dict[str, int]:
    """Alarm -> the step at which the log of a finished run raises it, by the thresholds of today."""
    state = json.loads((out / "trainer_state.json").read_text())
    manifest = json.loads((out / "run_manifest.json").read_text())
    course = course_of(case, state["max_steps"], manifest)
    detectors = {name: made(course) for name, made in DETECTORS.items()}
    raised: dict[str, int] = {}
    for entry in state["log_history"]:
        for name, detector in detectors.items():
            if name not in raised and detector.see(entry) is not None:
                raised[name] = entry["step"]
    return raised


def course_of(case: Case, steps: int, manifest: Mapping[str, Any]) -> Course:
    lengths = manifest["data"]["tokens"]["train"]["lengths"]
    rows = manifest["data"]["rows"]
    method, recipe = METHODS[case.method], manifest["recipe"]
    return Course(
        method=method,
        steps=steps,
        batch=recipe["global_batch_size"],
        anchored=method.data == "conversation" or case.method == "orpo",
        adapters=bool(recipe.get("use_peft")),
        repeats=case.count if case.rows == "repeated" else 1.0,
        beta=recipe.get("beta", 0.0),
        chosen_tokens=lengths.get("chosen", lengths.get("trained"))["mean"],
        evaluation_rows=rows["test"] or 0,
    )


def verdict(case: Case, raised: Mapping[str, int]) -> bool:
    """A healthy run raises nothing, a sick one at least one of the right alarms."""
    return not raised if not case.expected else any(name in raised for name in case.expected)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[""], help="parts of the names of the runs wanted")
    parser.add_argument("--work", type=Path, default=Path("/tmp/alarms"))
    parser.add_argument("--again", action="store_true", help="train what has been trained already")
    options = parser.parse_args(arguments)
    wrong = 0
    for name, case in cases().items():
        if not any(word in name for word in options.only):
            continue
        out = options.work / name / "out"
        done = (out / "README.md").exists() and not options.again
        if not done and (fault := train(name, case, options.work)):
            print(f"{name}: failed: {fault}", flush=True)
            wrong += 1
            continue
        raised = replayed(case, out)
        wrong += not verdict(case, raised)
        kind = f"sick ({' or '.join(case.expected)})" if case.expected else "healthy"
        told = ", ".join(f"{alarm} at {step}" for alarm, step in raised.items()) or "none"
        print(f"{'right' if verdict(case, raised) else 'WRONG'}  {name}, {kind}: {told}", flush=True)
    print(f"{wrong} wrong")


if __name__ == "__main__":
    main()
