"""A finished run in the form that other programs read, in a folder of its own, compared with the run.

The run's folder is only read. The export is written beside its place and moves there once it has been loaded again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from alignment.errors import Fault, SetupError, did_you_mean
from alignment.files import replacing, shown_path
from alignment.modeling.adapter_folder import is_adapter, load_answering
from alignment.modeling.auto_class import is_reward_model
from alignment.modeling.load import as_saved, load_policy, load_tokenizer
from alignment.output.final_save import ADAPTER, save_model
from alignment.output.finished_run import FinishedRun
from alignment.output.gguf_file import GGUF_TYPES, as_in_gguf, read_back, write_gguf
from alignment.output.saved import TOLERANCE, conversation_outputs

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from alignment.recipe import ModelArguments, Recipe

_QUESTION = {"role": "user", "content": "Why does bread rise?"}
_ANSWER = {"role": "assistant", "content": "Yeast turns sugar into gas, which lifts the dough."}


@dataclass(frozen=True, kw_only=True)
class Export:
    """What is exported, and how."""

    run: Path
    """The run's folder."""
    model: ModelArguments
    """What the run trained."""
    target: Path
    """Folder that the export becomes; it must not be there."""
    llama_cpp: Path | None = None
    """Folder of llama.cpp, whose converter writes GGUF; on the PATH when absent."""
    precision: str = "bf16"
    """Of the numbers in a GGUF file, in llama.cpp's words."""

    @property
    def scores(self) -> bool:
        """Whether the run made a reward model."""
        return is_reward_model(FinishedRun(self.run).config.get("architectures"))

    def trained(self, dtype: str = "float32") -> PreTrainedModel:
        """The model of the run's folder."""
        return load_policy(replace(as_saved(self.model, str(self.run)), dtype=dtype), scores=self.scores)  # type: ignore[arg-type]

    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer of the run's folder."""
        return load_tokenizer(as_saved(self.model, str(self.run)))


def export_run(recipe: Recipe, form: str, *, target: Path | None = None, **options: Any) -> Path:
    """Export the finished run of `recipe` and return the folder.

    Args:
        form: a name of `FORMATS`.
        target: the new folder; the run's own name with the format behind it when absent.
        options: `llama_cpp` and `precision` of `Export`.

    Raises:
        SetupError: there is no finished run, the format does not fit it, or what was written is not what was trained.
    """
    if form not in FORMATS:
        remedy = did_you_mean(form, FORMATS)
        raise SetupError(Fault(key="format", value=form, rule=f"must be one of {', '.join(FORMATS)}", remedy=remedy))
    run = Path(recipe.training["output_dir"])
    FinishedRun(run).manifest  # noqa: B018  raises where the run is not finished
    target = _free(target or run.with_name(f"{run.name}-{form}"), run)
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as partial:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            FORMATS[form](Export(run=run, model=recipe.model, target=partial, **options))
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    return target


def _free(target: Path, run: Path) -> Path:
    """`target`, which is neither taken nor a part of the run's folder."""
    if target.exists():
        remedy = "remove it, or choose another --output"
        raise SetupError(Fault(key="output", value=shown_path(target), rule="exists", remedy=remedy))
    if target.resolve().is_relative_to(run.resolve()):
        rule = f"lies in the run's own folder {shown_path(run)}, which stays as it is"
        raise SetupError(Fault(key="output", value=shown_path(target), rule=rule, remedy="choose another --output"))
    return target


def to_safetensors(export: Export) -> None:
    """The whole model in bf16, with tokenizer, chat template and stop ids."""
    _save(export, export.trained("bfloat16"), dtype=torch.bfloat16, compared=torch.bfloat16)


def to_merged(export: Export) -> None:
    """The base with the run's adapters merged into it, in the precision of the base's own weights."""
    adapters = export.run / ADAPTER
    if not is_adapter(str(adapters)):
        rule = f"trained no adapters (no {ADAPTER}/adapter_config.json)"
        remedy = "export its whole weights: FORMAT=safetensors"
        raise SetupError(Fault(key=shown_path(export.run), rule=rule, remedy=remedy))
    _refuse_scores(export, "merged")
    merged = load_answering(as_saved(export.model, str(adapters)))
    stored = getattr(torch, FinishedRun(export.run).config["dtype"])
    _save(export, merged, dtype=next(merged.parameters()).dtype, compared=stored)


def to_gguf(export: Export) -> None:
    """One GGUF file, written by llama.cpp's converter, with the template and every stop id."""
    _refuse_scores(export, "gguf")
    if export.precision not in GGUF_TYPES:
        rule = f"must be one of {', '.join(GGUF_TYPES)}"
        raise SetupError(Fault(key="precision", value=export.precision, rule=rule))
    tokenizer = export.tokenizer()
    path = export.target / f"{export.run.name}-{export.precision}.gguf"
    write_gguf(path, export.run, export.model, llama_cpp=export.llama_cpp, precision=export.precision)
    written = read_back(path, tokenizer, run=export.run, stops=FinishedRun(export.run).eos_token_ids)
    if written is None:
        print("transformers reads no GGUF of this architecture or size: its tensors were not compared with the run's.")
        return
    trained = export.trained()
    exactly = _said(trained, tokenizer)
    stored = _said(_rounded(trained, lambda tensor: as_in_gguf(tensor, export.precision)), tokenizer)
    _compare(stored, _said(written, tokenizer), TOLERANCE[torch.float32], path.name)
    _tell(exactly, stored, export.precision)


FORMATS: Mapping[str, Callable[[Export], None]] = {
    "gguf": to_gguf,
    "safetensors": to_safetensors,
    "merged": to_merged,
}
"""What `make export FORMAT=` takes."""


def _refuse_scores(export: Export, form: str) -> None:
    if export.scores:
        rule = "is a reward model, which gives a number and no answer"
        remedy = "FORMAT=safetensors"
        raise SetupError(Fault(key="format", value=form, rule=f"does not fit: the run {rule}", remedy=remedy))


def _save(export: Export, model: PreTrainedModel, *, dtype: torch.dtype, compared: torch.dtype) -> None:
    """Write `model` in `dtype`, load what was written, and compare it with the run, both rounded to `compared`."""
    tokenizer = export.tokenizer()
    save_model(model, tokenizer, export.target, state=model.state_dict(), dtype=dtype)
    written = as_saved(export.model, str(export.target))
    _check_stops(export, load_tokenizer(written))
    trained, again = export.trained(), load_policy(replace(written, dtype="float32"), scores=export.scores)
    exactly = _said(trained, tokenizer)
    stored, said = (
        _said(_rounded(each, lambda tensor: tensor.to(compared).float()), tokenizer) for each in (trained, again)
    )
    _compare(stored, said, TOLERANCE[torch.float32 if dtype == compared else compared], "model.safetensors")
    _tell(exactly, stored, str(compared).removeprefix("torch."))


def _rounded(model: PreTrainedModel, rounding: Callable[[Tensor], Tensor]) -> PreTrainedModel:
    """`model`, each of its weights rounded in place."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(rounding(weight))
    return model


def _check_stops(export: Export, tokenizer: PreTrainedTokenizerBase) -> None:
    """Template and stop ids are those of the run."""
    if tokenizer.chat_template != export.tokenizer().chat_template:
        raise SetupError(Fault(key="chat_template", rule="is another one in the export than in the run"))
    missing = {*FinishedRun(export.run).eos_token_ids} - {*FinishedRun(export.target).eos_token_ids}
    if missing:
        rule = "are stop ids of the run and not of the export"
        raise SetupError(Fault(key="generation_config.json", value=sorted(missing), rule=rule))


def _said(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """What a model says of a fixed conversation."""
    text = tokenizer.apply_chat_template([_QUESTION, _ANSWER], tokenize=False)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return conversation_outputs(model, ids, model.device)


def _compare(trained: Tensor, written: Tensor, tolerance: float, name: str) -> None:
    """Raises SetupError where two models say different things of the conversation."""
    difference = (trained - written).abs().mean().item()
    if not difference <= tolerance:
        rule = f"differs from the run by {difference:.3g} nats a token, and {tolerance:g} is the most"
        raise SetupError(Fault(key=name, rule=rule, remedy="nothing was written; please report it"))


def _tell(exactly: Tensor, rounded: Tensor, precision: str) -> None:
    """What the rounding itself does, which is no fault of the export."""
    change = (exactly - rounded).abs().mean().item()
    print(f"Equal to the run. Its weights in {precision} change a log-probability by {change:.2g} nats a token.")
