"""Files, folders and Hub ids that a recipe names: found now, not after the model has been loaded.

A relative path starts from the working directory, then from the folder of the YAML file that states it, then from the
recipe's folder.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from os.path import expanduser
from pathlib import Path
from typing import Any

from alignment.errors import Fault, UserError
from alignment.hub.bundled import bundled_model, is_bundled
from alignment.recipe.cleaning import against_ids
from alignment.recipe.evaluation_settings import FILES as EVALUATION_FILES
from alignment.recipe.evaluation_settings import FOLDERS as EVALUATION_FOLDERS
from alignment.recipe.evaluation_settings import NO_SCORERS
from alignment.recipe.evaluation_settings import SCORERS as EVALUATION_SCORERS
from alignment.recipe.files import could_be_path
from alignment.recipe.settings import Settings
from alignment.recipe.yaml_document import Origin

_DATA_SUFFIXES = (".json", ".jsonl", ".parquet", ".csv", ".txt", ".gz", ".zst", ".arrow")
_MODEL_KEYS = ("model_name_or_path", "tokenizer_name_or_path")
_FILES = {"sample_evaluation": ("prompts", "control_prompts"), "evaluation": (*EVALUATION_FILES, *EVALUATION_FOLDERS)}
"""Keys of sections that name files or folders."""
_HUB_KEYS = {"hub_model_id": "gemma-2-9b-it-SimPO", "hub_dataset_id": "gemma2-pairs"}
"""Names of what is published, each with an example."""


class Places:
    """Looks up what the recipe names.

    `found` maps dotted keys to absolute paths, and `chat_template` to its Jinja source.
    """

    def __init__(self, recipe: Path, origin: Callable[[str], Origin | None]) -> None:
        self.found: dict[str, str] = {}
        self._recipe = recipe
        self._origin = origin

    def faults(self, settings: Settings) -> Iterator[Fault]:
        """Every place that is not there, or could not be one."""
        for key in _MODEL_KEYS:
            if settings.sound(key) and settings[key]:
                yield from self._model(key, settings[key])
        for key, source in _datasets(settings):
            yield from self._dataset(key, source)
        if settings.sound("scorer") and settings["scorer"]:
            yield from self._scorer("scorer.name", settings["scorer"]["name"])
        if settings.sound("evaluation"):
            for name in EVALUATION_SCORERS:
                if value := _nested(settings["evaluation"], name):
                    yield from self._scorer(f"evaluation.{name}", value)
        if settings.sound("chat_template") and settings["chat_template"]:
            yield from self._template("chat_template", settings["chat_template"])
        for section, names in _FILES.items():
            if settings.sound(section):
                for name in names:
                    if value := _nested(settings[section], name):
                        yield from self._place(f"{section}.{name}", value, folder=name in EVALUATION_FOLDERS)
        if settings.sound("output_dir") and settings["output_dir"]:
            yield from self._output(settings["output_dir"])
        for key, example in _HUB_KEYS.items():
            if settings.sound(key) and settings[key] and not _is_hub_id(settings[key]):
                yield Fault(
                    key=key,
                    value=settings[key],
                    rule="is not a name that the Hub takes",
                    remedy=f"such as my-name/{example}: letters, digits, -, _ and . only",
                )

    def _output(self, value: str) -> Iterator[Fault]:
        if not could_be_path(str(Path.cwd() / expanduser(value))):
            yield Fault(
                key="output_dir", value=value, rule="is longer than a file system takes", remedy="choose a shorter one"
            )
        elif Path(value).is_file():
            yield Fault(key="output_dir", value=value, rule="is a file", remedy="name a folder; it is created")

    def _model(self, key: str, value: str) -> Iterator[Fault]:
        if is_bundled(value):
            try:
                bundled_model(value)
            except UserError as error:
                yield from error.faults
            return
        path = self._find(key, value)
        if path is not None and (_is_path(value) or (path / "config.json").is_file()):
            self.found[key] = str(path)
            if key == "model_name_or_path" and not (path / "config.json").is_file():
                yield Fault(
                    key=key,
                    value=value,
                    rule="holds no config.json, so it is no model",
                    remedy="give a folder written by save_pretrained",
                )
        elif _is_path(value):
            yield self._missing(key, value, "give a Hub id, or a folder written by save_pretrained")
        elif not _is_hub_id(value):
            yield Fault(
                key=key, value=value, rule="is neither a Hub id nor a folder", remedy="such as google/gemma-2-9b-it"
            )

    def _scorer(self, key: str, value: str) -> Iterator[Fault]:
        if ":" in value or value in NO_SCORERS:  # an address, a function or a bundled model
            return
        path = self._find(key, value)
        if path is not None and (path / "config.json").is_file():
            self.found[key] = str(path)
        elif _is_path(value) or not _is_hub_id(value):
            yield self._missing(key, value, "give a reward model (folder or Hub id), an address or module:function")

    def _dataset(self, key: str, value: str) -> Iterator[Fault]:
        path = self._find(key, value)
        if path is not None:
            self.found[key] = str(path)
        elif _is_path(value) or value.endswith(_DATA_SUFFIXES):
            yield self._missing(key, value, "give a Hub id, or a JSON, JSONL or Parquet file or folder")
        elif not _is_hub_id(value):
            yield Fault(
                key=key,
                value=value,
                rule="is neither a Hub id nor a file or folder",
                remedy="such as princeton-nlp/gemma2-ultrafeedback-armorm, or data/pairs.jsonl",
            )

    def _template(self, key: str, value: str) -> Iterator[Fault]:
        from alignment.recipe.chat_templates import resolve_chat_template

        inline = "{{" in value or "{%" in value
        path = None if inline else self._find(key, value)
        if path is None and not inline and (_is_path(value) or not could_be_path(value)):
            yield self._missing(key, value, "give a file, inline Jinja, or the name of a shipped template")
            return
        try:
            self.found[key] = resolve_chat_template(str(path) if path is not None and path.is_file() else value)
        except UserError as error:
            yield from error.faults

    def _place(self, key: str, value: str, *, folder: bool = False) -> Iterator[Fault]:
        path = self._find(key, value)
        if path is None or not (path.is_dir() if folder else path.is_file()):
            yield self._missing(key, value, "give a folder" if folder else "give a file")
        else:
            self.found[key] = str(path)

    def _find(self, key: str, value: str) -> Path | None:
        if not could_be_path(value):
            return None
        paths = (folder / expanduser(value) for folder in self._folders(key))
        return next((Path(os.path.abspath(path)) for path in paths if os.path.exists(path)), None)

    def _folders(self, key: str) -> list[Path]:
        origin = self._origin(key)
        stated_in = [origin.path.parent] if origin and origin.path else []
        return [Path.cwd(), *stated_in, self._recipe.parent]

    def _missing(self, key: str, value: str, remedy: str) -> Fault:
        folders = " or ".join(str(folder) for folder in dict.fromkeys(self._folders(key)))
        looked = "" if Path(value).is_absolute() else f" in {folders}"
        return Fault(key=key, value=value, rule=f"does not exist{looked}", remedy=remedy)


def _datasets(settings: Settings) -> Iterator[tuple[str, str]]:
    if settings.sound("dataset_name") and settings["dataset_name"]:
        yield "dataset_name", settings["dataset_name"]
    mixture: Mapping[str, Any] | None = settings["dataset_mixture"]
    if settings.sound("dataset_mixture") and mixture is not None:
        for at, source in enumerate(mixture["datasets"]):
            yield f"dataset_mixture.datasets[{at}].id", source["id"]
    if settings.sound("decontaminate") and settings["decontaminate"] is not None:
        yield from against_ids(settings["decontaminate"])
    if settings.sound("evaluation") and (held_out := _nested(settings["evaluation"], "preferences.dataset")):
        yield "evaluation.preferences.dataset", held_out
    prompts: Mapping[str, Any] = settings["prompts"] or {}
    if prompts.get("dataset_name"):
        yield "prompts.dataset_name", prompts["dataset_name"]
    for key, source in against_ids(prompts.get("decontaminate") or {}):
        yield f"prompts.{key}", source


def _nested(values: Any, name: str) -> Any:
    """The entry of a dotted name; `None` where there is none."""
    for part in name.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def _is_path(value: str) -> bool:
    return value.startswith(("/", "./", "../", "~")) or value in (".", "..")


def _is_hub_id(value: str) -> bool:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(value)
    except HFValidationError:
        return False
    return True
