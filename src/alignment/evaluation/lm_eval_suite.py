"""Tasks of lm-evaluation-harness by its Python API: the chat template applied, one BOS, a task at a time."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from alignment.errors import Fault, SetupError, did_you_mean, sentence_of
from alignment.evaluation.alpaca_library import INSTALL
from alignment.evaluation.context import Context, installed
from alignment.evaluation.interval import Z95
from alignment.evaluation.results import Metric, Outcome
from alignment.evaluation.subjects import Subject
from alignment.hub.errors import explained
from alignment.recipe.benchmark_settings import LmEvalSuite

SUITE = "lm_eval"
KEY = "evaluation.lm_eval.tasks"
ON_CPU = 8
"""Requests computed together on a CPU, which does not say that its memory is full before the process is gone."""


def measure(context: Context, subjects: Sequence[Subject]) -> Iterator[tuple[Mapping[str, Any], Outcome]]:
    """Every metric of every task, for each model. Tasks and requests that are done are not computed again.

    Raises:
        SetupError: lm-eval is not installed, a task is unknown, or its data cannot be had.
    """
    suite = context.settings.lm_eval
    if suite is None:
        remedy = "--evaluation.lm_eval.tasks '[gsm8k, mmlu]', or in the recipe"
        raise SetupError(Fault(key=KEY, rule="must be stated", remedy=remedy))
    manager, names = tasks_of(suite, base=context.recipe.path.parent)
    for subject in subjects:
        found = _results(context, suite, subject, manager, names)
        yield subject.identity, _outcome(context, suite, subject, found)


def tasks_of(suite: LmEvalSuite, *, base: Path) -> tuple[Any, list[str]]:
    """The harness's table of tasks, and the names of those that are asked for.

    Args:
        base: where relative paths start from when the working directory does not have them.

    Raises:
        SetupError: lm-eval is not installed, or has no such task.
    """
    files = {task: _place(task, base) for task in suite.tasks if task.endswith((".yaml", ".yml"))}
    folders = [*(_place(folder, base) for folder in suite.include), *(file.parent for file in files.values())]
    absent = [str(path) for path in (*files.values(), *folders) if not path.exists()]
    if absent:
        raise SetupError([Fault(key=KEY, value=path, rule="does not exist") for path in absent])
    try:
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        rule = f"cannot be imported ({sentence_of(error)})"
        raise SetupError(Fault(key="lm_eval", rule=rule, remedy=f"install it with `{INSTALL}`")) from error
    manager = TaskManager(
        include_path=[str(folder) for folder in dict.fromkeys(folders)] or None,
        include_defaults=len(files) < len(suite.tasks),  # reading thousands of them takes a while
    )
    names = [_name(files[task]) if task in files else task for task in suite.tasks]
    known = set(manager.all_tasks)
    faults = [
        Fault(key=KEY, value=name, rule="is no task of lm-eval", remedy=did_you_mean(name, known) or "see `lm-eval ls`")
        for name in names
        if name not in known
    ]
    if faults:
        raise SetupError(faults)
    return manager, names


def _place(stated: str, base: Path) -> Path:
    written = Path(stated).expanduser()
    return written if written.exists() else base / written


def _name(file: Path) -> str:
    """The name that a file of a task gives it."""
    import yaml

    class Loader(yaml.SafeLoader):
        """Reads tags of functions without running them."""

    Loader.add_multi_constructor("!", lambda loader, suffix, node: None)
    content = yaml.load(file.read_text("utf-8"), Loader=Loader)
    if not isinstance(content, dict) or not isinstance(content.get("task"), str):
        raise SetupError(Fault(key=KEY, value=str(file), rule="must name its task: `task: my_task`"))
    return str(content["task"])


def _results(
    context: Context, suite: LmEvalSuite, subject: Subject, manager: Any, names: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """What the harness says of each task, by name."""
    how = {key: value for key, value in asdict(suite).items() if key not in ("tasks", "include", "batch_size")}
    about = {"model": subject.identity, "settings": how, "dtype": context.dtype, "versions": _versions(context)}
    store = context.store(subject, SUITE, about)
    missing = [name for name in names if name not in store.found]
    model = _model(context, suite, subject) if missing else None
    for name in missing:
        print(f"lm-eval, {subject.label}: {name} ...", flush=True)
        store.add(name, _evaluated(suite, model, manager, name, cache=store.path.parent / "requests"))
    return {name: store.found[name] for name in names}


def _evaluated(suite: LmEvalSuite, model: Any, manager: Any, name: str, *, cache: Path) -> dict[str, Any]:
    """The harness's numbers of one task and, of a group, of its parts."""
    from lm_eval import simple_evaluate

    with explained(name, key=KEY, kind="dataset"):
        found = simple_evaluate(
            model=model,
            tasks=[name],
            task_manager=manager,
            num_fewshot=suite.num_fewshot,
            limit=suite.limit,
            system_instruction=suite.system_instruction,
            apply_chat_template=True,
            log_samples=False,
            use_cache=str(cache),
        )
    assert found is not None, "only ranks above 0 get nothing"
    counts = {task: number["effective"] for task, number in found["n-samples"].items()}
    everything = {**found["results"], **found.get("groups", {})}
    plain = {task: {key: _plain(value) for key, value in numbers.items()} for task, numbers in everything.items()}
    return {"results": plain, "n": counts, "version": str(found["versions"].get(name))}


def _model(context: Context, suite: LmEvalSuite, subject: Subject) -> Any:
    """The harness's view of our model: stop ids pinned, and no BOS but the chat template's."""
    from lm_eval.models.huggingface import HFLM

    from alignment.modeling.adapter_folder import load_answering
    from alignment.modeling.stopping import answering_config

    policy = load_answering(replace(subject.arguments, dtype=context.dtype)).to(context.device).eval()
    policy.generation_config = answering_config(policy.generation_config, subject.tokenizer)
    batch = suite.batch_size
    if batch == "auto" and context.device == "cpu":
        batch = ON_CPU
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    return HFLM(
        pretrained=policy,
        tokenizer=subject.tokenizer,
        device=context.device,
        batch_size=batch,
        max_length=suite.max_length,
        add_bos_token=False,
    )


def _outcome(context: Context, suite: LmEvalSuite, subject: Subject, found: Mapping[str, Any]) -> Outcome:
    shots = "the tasks' own examples" if suite.num_fewshot is None else f"{suite.num_fewshot} examples"
    cut = "" if suite.limit is None else f", first {suite.limit} of each"
    return Outcome(
        suite=SUITE,
        model=subject.label,
        data=f"{', '.join(found)} ({shots}{cut})",
        metrics=tuple(metric for name, record in found.items() for metric in metrics_of(name, record)),
        settings=asdict(suite),
        versions={**_versions(context), **{f"task {name}": record["version"] for name, record in found.items()}},
        details={name: record["results"] for name, record in found.items()},
    )


def metrics_of(name: str, record: Mapping[str, Any]) -> Iterator[Metric]:
    """The metrics of one task, each with the interval of the harness's standard error."""
    numbers = record["results"][name]
    count = record["n"].get(name) or sum(record["n"].values())
    first = True
    for key, value in numbers.items():
        metric, _, filtered = key.partition(",")
        if not filtered or metric.endswith("_stderr") or not isinstance(value, int | float):
            continue
        error = numbers.get(f"{metric}_stderr,{filtered}")
        known = isinstance(error, int | float)
        yield Metric(
            name=f"{name} {metric}" + ("" if filtered == "none" else f" ({filtered})"),
            value=float(value),
            ci=(value - Z95 * error, value + Z95 * error) if known else None,
            n=count,
            headline=first,
        )
        first = False


def _versions(context: Context) -> dict[str, str]:
    return {**context.versions, **installed("lm_eval")}


def _plain(value: Any) -> Any:
    """NumPy's numbers as Python's."""
    return value.item() if hasattr(value, "item") else value
