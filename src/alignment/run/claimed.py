"""The output folder of a run, claimed for all of its processes, and the identity that it must agree with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from transformers import PreTrainedTokenizerBase, TrainingArguments

from alignment.data.cleaning import dropped_rows
from alignment.data.fingerprint import digest_of, tokenizer_fingerprint
from alignment.modeling.load import model_folder
from alignment.modeling.weights_fingerprint import weights_fingerprint
from alignment.output.folder import RunFolder, claim
from alignment.output.identity import run_identity
from alignment.recipe import Recipe
from alignment.recipe.frozen import thaw
from alignment.run.failure import forget_logs


@contextmanager
def claimed_by_all(recipe: Recipe, config: TrainingArguments) -> Iterator[RunFolder]:
    """The main process claims the folder; every process learns what it found there."""
    with ExitStack() as stack:
        found: list[RunFolder | None] = [None]
        if PartialState().is_main_process:
            overwrite = bool(recipe.resolved.get("overwrite_output_dir"))
            found[0] = stack.enter_context(claim(Path(config.output_dir), thaw(recipe.resolved), overwrite=overwrite))
            forget_logs(Path(config.output_dir))
        yield broadcast_object_list(found)[0]


def identity_of_run(recipe: Recipe, tokenizer: PreTrainedTokenizerBase, splits: Any) -> dict[str, Any]:
    """What the folder of this run, and every checkpoint in it, must agree with."""
    rows: list[Any] = [(source.split, source.weight, source.fingerprint) for source in splits.sources]
    if dropped_rows(splits.cleaning):
        rows.append(splits.fingerprints["train"])
    return run_identity(
        thaw(recipe.resolved),
        rows=digest_of(rows),
        tokenizer=tokenizer_fingerprint(tokenizer),
        base_weights=weights_fingerprint(model_folder(recipe.model)),
    )
