"""The files that a finished run left, read once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from alignment.errors import Fault, SetupError
from alignment.output.folder import MANIFEST


@dataclass(frozen=True)
class FinishedRun:
    """A run's `output_dir`. Everything is read from its files, so another machine can read it later."""

    path: Path

    @cached_property
    def manifest(self) -> Mapping[str, Any]:
        """`run_manifest.json`. Raises SetupError when the folder holds no finished run."""
        manifest = self._json(MANIFEST)
        if manifest is None:
            raise SetupError(
                Fault(
                    key="output_dir",
                    value=self.path.name,
                    rule=f"holds no finished run ({MANIFEST} is missing)",
                    remedy="train first: make train RECIPE=...",
                )
            )
        return manifest

    @cached_property
    def results(self) -> Mapping[str, Any]:
        """`all_results.json`, the metrics at the end; empty without it."""
        return self._json("all_results.json") or {}

    @cached_property
    def log_history(self) -> Sequence[Mapping[str, Any]]:
        """What was logged, from `trainer_state.json`; empty without it."""
        return (self._json("trainer_state.json") or {}).get("log_history", [])

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """`config.json` of the model; empty without it."""
        return self._json("config.json") or {}

    @cached_property
    def before_after(self) -> Mapping[str, Any] | None:
        """`before_after.json`, when answers were measured before and after training."""
        return self._json("before_after.json")

    @cached_property
    def has_chat_template(self) -> bool:
        """Whether the tokenizer carries a chat template."""
        return self.has("chat_template.jinja") or "chat_template" in (self._json("tokenizer_config.json") or {})

    @cached_property
    def eos_token_ids(self) -> tuple[int, ...]:
        """Ids at which generation stops, from `generation_config.json`."""
        stops = (self._json("generation_config.json") or {}).get("eos_token_id")
        return () if stops is None else tuple(stops) if isinstance(stops, list) else (stops,)

    @cached_property
    def eos_tokens(self) -> tuple[str, ...]:
        """The tokens of `eos_token_ids`; empty when the tokenizer does not list one of them as special."""
        added = {
            token["id"]: token["content"] for token in (self._json("tokenizer.json") or {}).get("added_tokens", [])
        }
        tokens = tuple(added[stop] for stop in self.eos_token_ids if stop in added)
        return tokens if len(tokens) == len(self.eos_token_ids) else ()

    def logged(self, key: str) -> list[float]:
        """The values of a metric in `log_history`, in order."""
        return [entry[key] for entry in self.log_history if key in entry]

    def has(self, name: str) -> bool:
        """Whether the folder holds a file of that name."""
        return (self.path / name).is_file()

    def _json(self, name: str) -> dict[str, Any] | None:
        path = self.path / name
        if not path.is_file():
            return None
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            damaged = Fault(key=str(path), rule=f"is damaged: {error}", remedy="train again, or restore the file")
            raise SetupError(damaged) from error
