"""The prompts of a recipe: read from any source, each once, in alphabetical order, kept on disk."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignment.data.disk_cache import keep
from alignment.data.fingerprint import digest_of
from alignment.data.messages import RowFault
from alignment.data.row_findings import Tally
from alignment.data.sources import Request, Source, find_source
from alignment.errors import DataError, Fault
from alignment.files import shown_path
from alignment.pairs.clean_prompts import (
    Evaluation,
    decontaminated,
    of_languages,
    read_evaluation,
    without_near_duplicates,
)
from alignment.pairs.prompt import Prompt, placed_rows, prompt_of
from alignment.pairs.stages import STAGES
from alignment.recipe.pairs_recipe import PairsRecipe
from alignment.recipe.pairs_settings import PromptSettings

if TYPE_CHECKING:
    import pyarrow as pa

_FILE = "prompts.jsonl"
_BATCH = 1000

Measure = Callable[[Prompt], int]
"""Tokens of a prompt, chat template included."""


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """The prompts on disk; one after another they take no memory."""

    folder: Path
    facts: Mapping[str, Any]
    """How many `prompts` there are, of how many `rows`; how many were `left_out`, by reason; whether they are
    `all_text`, questions and nothing else; the `revision` of a data set of the Hub."""

    def __len__(self) -> int:
        return int(self.facts["prompts"])

    def __iter__(self) -> Iterator[Prompt]:
        with (self.folder / _FILE).open(encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                yield Prompt(row["id"], tuple(row["messages"]))


def read_prompts(recipe: PairsRecipe, measure: Callable[[], Measure]) -> Prompts:
    """The prompts that the recipe states. One process reads them; the others wait for it.

    Args:
        measure: loads what counts the tokens of a prompt; called where prompts are chosen by them.

    Raises:
        DataError: no data, no such column, rows that hold no prompt, or none left.
    """
    settings = recipe.settings.prompts
    request = Request(settings.dataset_name, settings.dataset_config, settings.dataset_split, settings.dataset_revision)
    source = find_source(request)
    by_tokens = settings.min_tokens is not None or settings.max_tokens is not None
    evaluation = read_evaluation(settings.decontaminate)
    decides = {
        **asdict(settings),
        "content": source.content,
        "counted_by": _counted_by(recipe) if by_tokens else None,
        "evaluation": evaluation and evaluation.texts,
    }
    place = recipe.folder / STAGES / "prompts" / digest_of(decides)[:16]
    kept = keep(
        place, lambda folder: _Reading(settings, evaluation, measure() if by_tokens else None).write(source, folder)
    )
    return Prompts(folder=kept.folder, facts={**kept.facts, "revision": source.commit})


def _counted_by(recipe: PairsRecipe) -> list[str | None]:
    told = recipe.settings
    return [told.model_name_or_path, told.model_revision, told.tokenizer_name_or_path, told.chat_template]


@dataclass
class _Reading:
    """One pass over the rows of a source."""

    settings: PromptSettings
    evaluation: Evaluation | None
    measure: Measure | None
    rows: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    tally: Tally = field(default_factory=Tally)

    def write(self, source: Source, folder: Path) -> dict[str, Any]:
        """Write the prompts to `folder`; returns the facts of `Prompts`."""
        name = f"{self.settings.dataset_split} of {shown_path(self.settings.dataset_name)}"
        table = _table(self._fit(self._distinct(placed_rows(source, self.settings.dataset_split, name))))
        verdict = self.tally.verdict(rows=self.rows, unread=())
        verdict.require(self.settings.on_bad_row, name)
        chosen, overlaps = self._chosen(table.sort_by("sort"))
        left_out = {reason: count for reason, count in (self.left_out + Counter(verdict.dropped)).items() if count}
        if not len(chosen):
            why = ", ".join(f"{count} x {reason}" for reason, count in left_out.items())
            raise DataError(Fault(key=name, rule=f"holds no prompt that is wanted ({why})", remedy="widen the limits"))
        with (folder / _FILE).open("w", encoding="utf-8") as file:
            for batch in chosen.to_batches(_BATCH):
                file.writelines(f"{line}\n" for line in batch["line"].to_pylist())
        all_text = all(chosen["is_text"].to_pylist())
        facts = {"rows": self.rows, "prompts": len(chosen), "left_out": left_out, "all_text": all_text}
        return {**facts, **({"overlaps": overlaps} if overlaps else {})}

    def _chosen(self, table: pa.Table) -> tuple[pa.Table, dict[str, Any]]:
        """What the settings leave of the prompts, with what was found of evaluation prompts in them."""
        spoken = of_languages(table, self.settings.languages)
        distinct = without_near_duplicates(spoken, self.settings.near_duplicates)
        clean, overlaps = decontaminated(distinct, self.evaluation)
        taken = _part(clean, self.settings.max_rows, self.settings.seed, self.settings.skip_rows)
        self.left_out["in other languages"] = len(table) - len(spoken)
        self.left_out["near duplicates"] = len(spoken) - len(distinct)
        self.left_out["overlap with evaluation prompts"] = len(distinct) - len(clean)
        self.left_out["above max_rows"] = len(clean) - len(taken)
        return taken, overlaps

    def _distinct(self, rows: Iterable[tuple[Mapping[str, Any] | RowFault, str]]) -> Iterator[Prompt]:
        seen: set[bytes] = set()
        for row, place in rows:
            self.rows += 1
            try:
                prompt = self._prompt(row)
            except RowFault as fault:
                self.tally.add(fault, place)
                continue
            key = bytes.fromhex(prompt.id)
            if key in seen:
                self.left_out["asked twice"] += 1
                continue
            seen.add(key)
            yield prompt

    def _prompt(self, row: Mapping[str, Any] | RowFault) -> Prompt:
        if isinstance(row, RowFault):
            raise row
        prompt = prompt_of(row, self.settings.column)
        if prompt.messages[0]["role"] == "system" and any(self.settings.system_messages):
            raise RowFault("two system messages", "the prompt has one, and prompts.system_messages another")
        return prompt

    def _fit(self, prompts: Iterable[Prompt]) -> Iterator[Prompt]:
        least, most = self.settings.min_tokens or 0, self.settings.max_tokens
        for prompt in prompts:
            try:
                tokens = self.measure(prompt) if self.measure else least
            except RowFault as fault:
                self.tally.add(fault, str(prompt))
                continue
            reason = "below min_tokens" if tokens < least else "above max_tokens" if most and tokens > most else None
            if reason is None:
                yield prompt
            else:
                self.left_out[reason] += 1


def _table(prompts: Iterable[Prompt]) -> pa.Table:
    """Prompts as Arrow holds them, in a tenth of the memory of Python objects."""
    import pyarrow as pa

    schema = pa.schema({"sort": pa.large_string(), "id": pa.string(), "line": pa.large_string(), "is_text": pa.bool_()})
    batches, rows = [], []
    for prompt in prompts:
        line = json.dumps({"id": prompt.id, "messages": prompt.messages}, ensure_ascii=False)
        is_text = prompt.text is not None
        rows.append({"sort": prompt.text if is_text else line, "id": prompt.id, "line": line, "is_text": is_text})
        if len(rows) == _BATCH:
            batches.append(pa.RecordBatch.from_pylist(rows, schema=schema))
            rows = []
    return pa.Table.from_batches([*batches, pa.RecordBatch.from_pylist(rows, schema=schema)])


def _part(table: pa.Table, most: int | None, seed: int, skip: int) -> pa.Table:
    """At most so many prompts, of least digests with `seed` after `skip` of them: of more later these are a part."""
    if most is None or len(table) <= most:
        return table
    drawn = [hashlib.sha256(f"{seed}/{id}".encode()).digest() for id in table["id"].to_pylist()]
    order = sorted(range(len(drawn)), key=drawn.__getitem__)
    return table.take(sorted(order[(skip + at) % len(order)] for at in range(most)))
