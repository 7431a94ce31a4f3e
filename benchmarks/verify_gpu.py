"""Everything that only a GPU can show, in one command and under nine minutes; `make verify-gpu`.

    python benchmarks/verify_gpu.py                                writes benchmarks/results/verify_gpu.{json,md}
    python benchmarks/verify_gpu.py --device cpu --size tiny --folder /tmp/results    a rehearsal of what a CPU can run

Needs torch >= 2.11 and transformers >= 5.17; a part that needs more says what is not installed. Every part runs in a
process of its own, so that none can take another with it, and what it found is written before the next one begins. The
same command goes on where the last one stopped: what has passed on this GPU with these versions is not run again.
Exit code 0: all passed or skipped; 1: a part failed, or time ran out before all had run; 2: there is no GPU.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import measure
import torch
import verify_parts as parts
import verify_runs as runs
from verify_parts import Evidence, Setting, Skipped
from workload import SIZES

from alignment.errors import sentence_of

PARTS: Mapping[str, tuple[Callable[[Setting], Evidence], int]] = {
    "attention backends": (parts.backends, 120),
    "compiled pieces against plain": (parts.compiled_pieces, 90),
    "Liger against plain": (parts.liger, 60),
    "host synchronizations": (parts.synchronizations, 60),
    "compilations": (parts.compilations, 90),
    "planned memory": (parts.memory, 90),
    "tests/gpu": (runs.tests, 120),
    "zero3": (runs.TRAININGS["zero3"], 150),
    "lora": (runs.TRAININGS["lora"], 90),
    "qlora": (runs.TRAININGS["qlora"], 90),
    "zero3_offload": (runs.TRAININGS["zero3_offload"], 240),
    "bench-gpu": (runs.benchmark, 510),
}
"""What is looked at, in this order, and the seconds it may take at most."""

PASSED, SKIPPED, FAILED, WAITING = "passed", "skipped", "failed", "not run yet"


@dataclass(kw_only=True)
class Outcome:
    """Of one part."""

    name: str
    status: str = WAITING
    seconds: float = 0.0
    reason: str | None = None
    evidence: Evidence = field(default_factory=dict)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--size", choices=SIZES, default="gemma-2-9b")
    parser.add_argument("--minutes", type=float, default=8.7, help="no part is begun or goes on after that")
    parser.add_argument("--folder", type=Path, default=measure.RESULTS)
    parser.add_argument("--again", action="store_true", help="run what has passed, too")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("verify-gpu: no CUDA device; --device cpu --size tiny rehearses what a CPU can run", file=sys.stderr)
        return 2
    if options.part:
        print(json.dumps(asdict(outcome_of(options))))
        return 0
    return verify(options)


def verify(options: argparse.Namespace) -> int:
    deadline = time.monotonic() + 60 * options.minutes
    facts = {"device": options.device, "size": options.size, "versions": measure.versions()}
    facts["gpu"] = torch.cuda.get_device_name() if options.device == "cuda" else None
    outcomes = {} if options.again else passed_before(options.folder / "verify_gpu.json", facts)
    for name, (_, longest) in PARTS.items():
        if name in outcomes:
            print(f"{name}: {PASSED} before", flush=True)
            continue
        left = deadline - time.monotonic()
        outcomes[name] = in_a_process(name, options, min(longest, left)) if left > 5 else Outcome(name=name)
        said = outcomes[name]
        print(f"{name}: {said.status}{f', {said.reason}' if said.reason else ''} ({said.seconds:.0f} s)", flush=True)
        write(options.folder, facts, outcomes)
    write(options.folder, facts, outcomes)
    print(f"written to {options.folder / 'verify_gpu.json'} and verify_gpu.md")
    if any(said.status == WAITING for said in outcomes.values()):
        print("time ran out; the same command goes on from here", file=sys.stderr)
    return int(any(said.status in (FAILED, WAITING) for said in outcomes.values()))


def passed_before(path: Path, facts: dict[str, Any]) -> dict[str, Outcome]:
    """What has passed on the same GPU with the same versions."""
    if not path.exists():
        return {}
    last = json.loads(path.read_text())
    if any(last.get(key) != value for key, value in facts.items()):
        return {}
    return {part["name"]: Outcome(**part) for part in last["parts"] if part["status"] == PASSED}


def in_a_process(name: str, options: argparse.Namespace, seconds: float) -> Outcome:
    """What became of a part, even if its process dies or never ends."""
    command = [sys.executable, __file__, "--part", name, "--device", options.device, "--size", options.size]
    command += ["--folder", str(options.folder), "--seconds", f"{seconds - 2:.1f}"]
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as log:
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=log, text=True, timeout=seconds)
            outcome = Outcome(**json.loads(done.stdout.strip().splitlines()[-1]))
        except subprocess.TimeoutExpired:
            outcome = Outcome(name=name, status=FAILED, reason=f"did not end within {seconds:.0f} s")
        except (ValueError, IndexError):
            log.seek(0)
            outcome = Outcome(name=name, status=FAILED, reason=f"exit code {done.returncode}: {log.read()[-1500:]}")
    outcome.seconds = round(time.monotonic() - began, 1)
    return outcome


def outcome_of(options: argparse.Namespace) -> Outcome:
    """Runs a part here."""
    setting = Setting(device=options.device, size=SIZES[options.size], folder=options.folder, seconds=options.seconds)
    outcome = partial(Outcome, name=options.part)
    try:
        return outcome(status=PASSED, evidence=PARTS[options.part][0](setting))
    except Skipped as reason:
        return outcome(status=SKIPPED, reason=str(reason))
    except Exception as error:  # whatever a kernel, compiler or program may raise
        traceback.print_exc()
        return outcome(status=FAILED, reason=f"{type(error).__name__}: {sentence_of(error, 2000)}")


def write(folder: Path, facts: dict[str, Any], outcomes: Mapping[str, Outcome]) -> None:
    """JSON for programs, Markdown for people."""
    said = [outcomes.get(name, Outcome(name=name)) for name in PARTS]
    found = {**facts, "hardware": measure.hardware(), "parts": [asdict(outcome) for outcome in said]}
    measure.write("verify_gpu", found, folder)
    title = f"# verify-gpu: {facts['gpu'] or 'rehearsal on a CPU'}, {facts['size']}"
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    rows = [f"| {o.name} | {o.status} | {o.seconds:.0f} | {cell(o.reason or o.evidence)} |" for o in said]
    lines = [title, "", versions, "", "| part | outcome | seconds | what was seen |", "|---|---|---|---|", *rows]
    (folder / "verify_gpu.md").write_text("\n".join(lines) + "\n")


def cell(seen: str | Evidence) -> str:
    """What fits into a table; all of it is in the JSON."""
    text = seen if isinstance(seen, str) else "; ".join(f"{name}: {value}" for name, value in seen.items())
    text = " ".join(text.split()).replace("|", "\\|")
    return text if len(text) <= 400 else f"{text[:400]}…"


if __name__ == "__main__":
    sys.exit(main())
