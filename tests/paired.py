"""A small recipe of pairs: a tiny model, a dozen prompts, a scorer of its own."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import yaml
from tiny import sentence, write_jsonl

from alignment.recipe.pairs_recipe import PairsRecipe, load_pairs_recipe

ROOT = Path(__file__).parents[1]
SCORER = '''
"""Counts letters; keeps a log of what it was given, and does what a test asks for."""
import os, signal
from pathlib import Path

def score(conversation):
    text = conversation[-1]["content"]
    told = Path("scored.log")
    with told.open("a") as log:
        log.write(repr((conversation[0]["content"], text)) + "\\n")
    count = len(told.read_text().splitlines())
    if count == int(os.environ.get("KILL_AT", "0")):
        os.kill(os.getpid(), signal.SIGKILL)
    if count == int(os.environ.get("NAN_AT", "0")):
        return float("nan")
    return float(sum(map(ord, text)) % 101)
'''


@dataclass(frozen=True)
class Place:
    """A folder with all that the recipe names."""

    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "recipe.yaml"

    @property
    def output(self) -> Path:
        return self.folder / "made"

    def recipe(self, *overrides: str, output: str = "made") -> PairsRecipe:
        return load_pairs_recipe(self.file, ["--output_dir", str(self.folder / output), *overrides])

    def start(self, *overrides: str, **environment: str) -> subprocess.Popen:
        """`scripts/pairs.py` in a process of its own."""
        words = [sys.executable, str(ROOT / "scripts/pairs.py"), "--config", str(self.file)]
        return subprocess.Popen(
            [*words, "--output_dir", str(self.output), *overrides],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def rows(self, split: str, output: str = "made") -> list[dict]:
        """The rows of a split."""
        return pq.read_table(self.folder / output / "data" / f"{split}-00000-of-00001.parquet").to_pylist()

    def parts(self, stage: str, output: str = "made") -> list[Path]:
        """The files that the workers have written."""
        return sorted((self.folder / output / ".stages" / stage).glob("*/part-*.jsonl"))

    def lines(self, stage: str, output: str = "made") -> list[str]:
        """The records that the workers have written."""
        return [line for path in self.parts(stage, output) for line in path.read_text().splitlines()]

    def scored(self) -> list[str]:
        path = self.folder / "scored.log"
        return path.read_text().splitlines() if path.exists() else []


def pairs_recipe(folder: Path, model: Path) -> Place:
    """Write prompts, scorer and recipe to `folder`, from which commands on it must run."""
    write_jsonl(folder / "prompts.jsonl", [{"prompt": sentence(random.Random(at), 6)} for at in range(12)])
    scorer = f"scorer_{folder.name}".replace("-", "_")
    (folder / f"{scorer}.py").write_text(SCORER)
    settings = {
        "method": "pairs",
        "model_name_or_path": str(model),
        "prompts": {"dataset_name": "prompts.jsonl"},
        "generation": {"max_new_tokens": 12, "temperature": 1.0, "seeds": [3, 5, 8], "tokens_per_batch": 60},
        "scorer": {"name": f"{scorer}:score", "batch_size": 4},
        "test_size": 3,
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(settings))
    return Place(folder)
