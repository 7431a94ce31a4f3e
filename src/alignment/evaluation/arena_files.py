"""Arena-Hard as its authors published it: questions, baseline answers, and what their judge is told."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alignment.errors import DataError, Fault, SetupError, sentence_of
from alignment.evaluation.rows import placed_rows
from alignment.files import cache_root
from alignment.recipe.benchmark_settings import ArenaHardSuite

ADDRESS = "https://github.com/lmarena/arena-hard-auto"
KEY = "evaluation.arena_hard.repository"
_NAMES = {"v0.1": "arena-hard-v0.1", "v2": "arena-hard-v2.0"}
_JUDGE_SETTINGS = "utils/judge_utils.py"
_CLONING = 1800
"""Seconds that fetching the repository may take."""


@dataclass(frozen=True, kw_only=True)
class ArenaFiles:
    """One version and category of the benchmark."""

    name: str
    """`arena-hard-v0.1` or `arena-hard-v2.0`."""
    category: str
    questions: Mapping[str, str]
    """uid -> what is asked."""
    baseline: str
    """The model that is compared with."""
    baseline_answers: Mapping[str, str]
    """uid -> its answer."""
    system_prompt: str
    prompt_template: str
    """With {QUESTION}, {ANSWER_A} and {ANSWER_B}."""
    judge: str
    """The judge that is prescribed."""
    body: Mapping[str, Any]
    """Settings of each request."""
    patterns: tuple[str, ...]
    """Regular expressions of a verdict, the first that is found counts."""

    def messages(self, uid: str, first: str, second: str) -> list[dict[str, str]]:
        """What the judge is told of one game."""
        parts = {"QUESTION": self.questions[uid], "ANSWER_A": first, "ANSWER_B": second}
        # Not `format`, which would read braces in an answer.
        told = re.sub(r"\{(QUESTION|ANSWER_A|ANSWER_B)\}", lambda found: parts[found[1]], self.prompt_template)
        return [{"role": "system", "content": self.system_prompt}, {"role": "user", "content": told}]

    def verdict(self, text: str) -> str | None:
        """The last verdict in a judge's answer."""
        for pattern in self.patterns:
            if found := [one for one in re.findall(pattern, text.upper()) if one]:
                return str(found[-1]).strip("\n")
        return None


def find_repository(suite: ArenaHardSuite) -> Path:
    """The clone that is stated, or the one that `fetch_repository` left.

    Raises:
        SetupError: there is neither.
    """
    path = Path(suite.repository) if suite.repository else cache_root() / "arena-hard-auto"
    if not path.is_dir():
        remedy = f"run `make data` while online, or `git clone {ADDRESS}` and state where it is"
        raise SetupError(Fault(key=KEY, rule="must be stated, as the benchmark's files are not here", remedy=remedy))
    return path


def fetch_repository(address: str = ADDRESS) -> Path:
    """Have the benchmark's repository in the cache.

    Raises:
        SetupError: git is missing, or the repository cannot be fetched.
    """
    target = cache_root() / "arena-hard-auto"
    if target.is_dir():
        return target
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    command = ["git", "clone", "--quiet", "--depth", "1", address, str(partial)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_CLONING)
    except (OSError, subprocess.SubprocessError) as error:
        said = sentence_of(Exception(getattr(error, "stderr", None) or str(error)))
        remedy = f"see whether `git clone {address}` works, or state a clone as {KEY}"
        raise SetupError(Fault(key=KEY, value=address, rule=f"cannot be fetched: {said}", remedy=remedy)) from error
    partial.rename(target)
    return target


def read_files(suite: ArenaHardSuite) -> ArenaFiles:
    """The benchmark that the suite asks for.

    Raises:
        SetupError: files are missing, or are not what their authors had.
        DataError: rows that cannot be read.
    """
    root, name = find_repository(suite), _NAMES[suite.version]
    config = _config(root / f"config/{name}.yaml")
    settings = _judge_settings(root / _JUDGE_SETTINGS)
    category = suite.category or (name if suite.version == "v0.1" else "hard_prompt")
    rows = _questions(root / f"data/{name}/question.jsonl", category, suite.max_questions)
    if (of_category := settings.get(category if category in settings else name)) is None:
        raise SetupError(Fault(key=KEY, value=str(root / _JUDGE_SETTINGS), rule=f"says nothing of {category}"))
    baseline = str(of_category["baseline"])
    return ArenaFiles(
        name=name,
        category=category,
        questions=rows,
        baseline=baseline,
        baseline_answers=_answers(root / f"data/{name}/model_answer/{baseline}.jsonl", rows),
        system_prompt=str(of_category["system_prompt"]),
        prompt_template=str(config["prompt_template"]),
        judge=str(config["judge_model"]),
        body={key: config[key] for key in ("temperature", "max_tokens") if key in config},
        patterns=tuple(config["regex_patterns"]),
    )


def _questions(path: Path, category: str, most: int | None) -> dict[str, str]:
    rows = [row for _, row in placed_rows(path, key=KEY) if row.get("category", category) == category]
    if not rows:
        raise DataError(Fault(key=str(path), rule=f"has no question of the category {category}"))
    return {str(row["uid"]): str(row["prompt"]) for row in rows[:most]}


def _answers(path: Path, questions: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for place, row in placed_rows(path, key=KEY):
        try:
            content = row["messages"][-1]["content"]
            found[str(row["uid"])] = content["answer"] if isinstance(content, Mapping) else str(content)
        except (KeyError, IndexError, TypeError) as error:
            raise DataError(Fault(key=place, rule="holds no answer (messages[-1].content.answer)")) from error
    if missing := [uid for uid in questions if uid not in found]:
        raise DataError(Fault(key=str(path), rule=f"has no answer to {len(missing)} questions, such as {missing[0]}"))
    return found


def _config(path: Path) -> dict[str, Any]:
    import yaml

    try:
        config = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise SetupError(Fault(key=KEY, value=str(path), rule=f"cannot be read: {sentence_of(error)}")) from error
    needed = ("judge_model", "prompt_template", "regex_patterns")
    missing = [key for key in needed if not isinstance(config, dict) or key not in config]
    if missing:
        raise SetupError(Fault(key=KEY, value=str(path), rule=f"must state {', '.join(missing)}"))
    return config


def _judge_settings(path: Path) -> dict[str, Any]:
    """The table of judges in a Python file, read without running it: texts, and names of texts."""
    try:
        tree = ast.parse(path.read_text("utf-8"))
    except (OSError, SyntaxError, ValueError) as error:
        raise SetupError(Fault(key=KEY, value=str(path), rule=f"cannot be read: {sentence_of(error)}")) from error
    known: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            known[node.targets[0].id] = _value(node.value, known)
    settings = known.get("JUDGE_SETTINGS")
    if not isinstance(settings, dict) or not all(
        isinstance(entry, dict) and {"baseline", "system_prompt"} <= entry.keys() for entry in settings.values()
    ):
        rule = "must hold JUDGE_SETTINGS with a baseline and a system_prompt for each category"
        raise SetupError(Fault(key=KEY, value=str(path), rule=rule))
    return settings


def _value(node: ast.expr, known: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return {_value(key, known): _value(value, known) for key, value in pairs if key is not None}
    return node.value if isinstance(node, ast.Constant) else None


def as_judgment(files: ArenaFiles, uid: str, *, model: str, judge: str, games: list[dict[str, Any]]) -> dict[str, Any]:
    """A row as Arena-Hard writes it."""
    row = {"uid": uid, "category": files.category, "judge": judge, "model": model, "baseline": files.baseline}
    return {**row, "games": games}
