"""The alignment-handbook's recipes, old and new, and those of the SimPO authors, who built on it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from alignment.recipe.convert import trl
from alignment.recipe.convert.draft import Draft
from alignment.recipe.convert.preference import lengths
from alignment.recipe.convert.source import Source

TITLE = "the alignment-handbook or the SimPO authors"
MARKS = (
    *("dataset_mixer", "dataset_splits", "dataset_configs", "dataset_mixture", "gamma_beta_ratio"),
    *("preprocessing_num_workers", "use_flash_attention_2", "auto_insert_empty_system_msg", "max_seq_length"),
)
NEEDED = ("model_name_or_path",)

_TEST_SHARE = 0.02
_PLAIN = {"learning_rate": 5e-5, "num_train_epochs": 3, "lr_scheduler_type": "linear", "warmup_ratio": 0.0}
"""transformers' own, which hold for every trainer of theirs."""
DEFAULTS: dict[str, dict[str, Any]] = {
    "sft": {"bf16": False},
    "dpo": {},
    "orpo": {**_PLAIN, "beta": 0.1},
    "simpo": {**_PLAIN, "beta": 2.0, "gamma_beta_ratio": 0.25, "max_grad_norm": 0},
    "reward": {},
    "alphapo": {},
}
WHY = {"max_grad_norm": "the DeepSpeed of the released models clipped nothing"}


def convert(source: Source) -> Draft:
    """The draft of a recipe with `dataset_mixer` (old) or `dataset_mixture` (new)."""
    draft = Draft(trl.method_of(source), source.settings)
    draft.note("note", "method", f": {draft.method}, by its keys and names; the file itself does not say it")
    if draft.left.get("dataset_mixer") is not None:
        _mixer(draft)
    elif "dataset_mixture" in draft.left:
        _mixture(draft)
    trl.objective(draft, defaults=False)
    trl.common(draft)
    if draft.left.get("auto_insert_empty_system_msg") is False:
        draft.take("auto_insert_empty_system_msg")
    draft.by_table(trl.TABLE)
    draft.by_name()
    for key, value in DEFAULTS[draft.method].items():
        draft.defaults({key: value}, WHY.get(key, "the default there"))
    lengths(draft)
    return draft


def _mixer(draft: Draft) -> None:
    """`dataset_mixer: {id: share}`, where every split with "train" in its name is trained on, with "test" tested."""
    mixer, configs = draft.take("dataset_mixer"), draft.take("dataset_configs", [])
    splits = draft.take("dataset_splits", ["train", "test"])
    train = [split for split in splits if "train" in str(split)]
    tests = [split for split in splits if "test" in str(split)]
    if len(mixer) == 1 and len(train) == 1 and next(iter(mixer.values())) == 1:
        stated = {"dataset_name": next(iter(mixer)), "dataset_train_split": train[0]}
        stated |= {"dataset_test_split": tests[0]} if tests else {}
        stated |= {"dataset_config": configs[0]} if configs else {}
        draft.change("dataset_mixer", mixer, stated, f"dataset_splits {', '.join(map(str, splits))}")
        return
    sources = list(_sources(mixer, configs, train))
    mixture: dict[str, Any] = {"datasets": sources, "seed": 42}
    if _evaluates(draft):
        mixture["test_split_size"] = _TEST_SHARE
        told = f"rows of several test splits; instead {_TEST_SHARE:.0%} of the mixture is held out"
        draft.lose("dataset_splits", ", ".join(map(str, tests)) or "none", told)
    draft.change("dataset_mixer", mixer, {"dataset_mixture": mixture})


def _sources(mixer: dict[str, Any], configs: list[str], train: list[str]) -> Iterator[dict[str, Any]]:
    for at, (name, share) in enumerate(mixer.items()):
        for split in train:
            source = {"id": name, "split": split}
            source |= {"config": configs[at]} if at < len(configs) else {}
            yield source | ({"weight": share} if share != 1 else {})


def _mixture(draft: Draft) -> None:
    mixture = draft.take("dataset_mixture")
    draft.settings["dataset_mixture"] = mixture
    sources = mixture.get("datasets") if isinstance(mixture, dict) else None
    if not isinstance(sources, list):
        return
    named = [str(source.get("split", "train")) for source in sources if isinstance(source, dict)]
    if any("train" in split for split in named):
        for at, split in enumerate(named):
            if "test" in split:
                told = f": {split} is trained on, as there; remove it to keep those rows for evaluation"
                draft.note("note", f"dataset_mixture.datasets[{at}]", told)
    if _evaluates(draft) and mixture.get("test_split_size") is None:
        draft.add("dataset_mixture", {**mixture, "test_split_size": _TEST_SHARE}, "a test split, for eval_strategy")


def _evaluates(draft: Draft) -> bool:
    strategy = draft.left.get("eval_strategy", draft.left.get("evaluation_strategy", "no"))
    return strategy not in ("no", False, None) or bool(draft.left.get("do_eval"))
