"""Is a folder fit to be published? Every reason why not, all at once, before a byte is sent."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alignment.errors import Fault, SetupError, UserError
from alignment.modeling.auto_class import is_reward_model
from alignment.output.finished_run import FinishedRun
from alignment.publish.plan import Plan
from alignment.publish.secrets import TEXT_SUFFIXES, secret_faults
from alignment.publish.weights import weight_faults

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_SAMPLE = "Why does bread rise? Yeast: 3 x 4 = 12,\n\tnaïve café."
_ANSWER_TOKENS = 8


def verify_folder(folder: Path, plan: Plan, *, reload: bool = True) -> None:
    """Check what `plan` would publish from `folder`.

    Weights: complete, finite, of the recipe's precision, tied ones stored once. Tokenizer: round trip, chat template,
    stop ids. Text files: no credentials, no local paths. With `reload` the model is loaded and answers a question.

    Raises:
        SetupError: with every fault.
    """
    scores = is_reward_model(FinishedRun(folder).config.get("architectures"))
    faults = list(_missing_files(plan, scores=scores))
    if not faults:
        faults += secret_faults(
            ((file.name, file.content()) for file in plan.files if Path(file.name).suffix in TEXT_SUFFIXES),
            folder=folder,
        )
        faults += weight_faults(folder)
        faults += tokenizer_faults(folder)
    if not faults and reload:
        faults += score_faults(folder) if scores else answer_faults(folder)
    if faults:
        raise SetupError(faults, where=f"{folder} is not fit to be published, and nothing was sent")


def _missing_files(plan: Plan, *, scores: bool) -> Iterator[Fault]:
    names = {file.name for file in plan.files}
    weights = {"model.safetensors", "model.safetensors.index.json"}
    answering = () if scores else ("generation_config.json",)
    for needed in ("config.json", *answering, "tokenizer_config.json"):
        if needed not in names:
            yield Fault(key=needed, rule="is missing", remedy="finish the run: make train RECIPE=...")
    if not weights & names:
        yield Fault(key="model.safetensors", rule="is missing", remedy="finish the run: make train RECIPE=...")


def tokenizer_faults(folder: Path) -> Iterator[Fault]:
    """What is wrong with the tokenizer: no round trip, another chat template than in training, stop ids missing."""
    from transformers import GenerationConfig

    from alignment.modeling.stopping import stop_token_ids

    run = FinishedRun(folder)
    tokenizer = _tokenizer(folder, run)
    ids = tokenizer(_SAMPLE, add_special_tokens=False)["input_ids"]
    if (back := str(tokenizer.decode(ids, clean_up_tokenization_spaces=False)).strip()) != _SAMPLE:
        yield Fault(key="tokenizer", value=back, rule="must give a text back after encoding and decoding it")
    rows = run.config.get("vocab_size")
    if rows is not None and len(tokenizer) > rows:
        yield Fault(key="tokenizer", value=len(tokenizer), rule=f"has more tokens than the model has rows ({rows})")
    if tokenizer.chat_template:
        yield from _template_faults(tokenizer, run)
        if is_reward_model(run.config.get("architectures")):
            return
        stops = GenerationConfig.from_pretrained(folder).eos_token_id
        stated = set(stops if isinstance(stops, list) else [] if stops is None else [stops])
        for token in sorted(set(stop_token_ids(tokenizer)) - stated):
            yield Fault(
                key="eos_token_id in generation_config.json",
                value=sorted(stated),
                rule=f"must hold {token} ({tokenizer.convert_ids_to_tokens(token)}), or answers will not end",
            )
    else:
        yield Fault(
            key="chat_template", rule="is missing, so nobody can talk to the model", remedy="state it in the recipe"
        )


def _template_faults(tokenizer: PreTrainedTokenizerBase, run: FinishedRun) -> Iterator[Fault]:
    trained = run.manifest["model"].get("chat_template_sha256")
    found = hashlib.sha256(str(tokenizer.chat_template).encode()).hexdigest()
    if trained is not None and found != trained:
        yield Fault(key="chat_template", rule="is not the one that the model was trained with", remedy="save it again")


def answer_faults(folder: Path) -> Iterator[Fault]:
    """What is wrong once the model is loaded and asked something. Takes as much memory as the weights."""
    import torch

    run = FinishedRun(folder)
    tokenizer: Any = _tokenizer(folder, run)
    model: Any = _model(folder, run)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Why does bread rise?"}], add_generation_prompt=True, tokenize=False
    )
    inputs = tokenizer(text, add_special_tokens=False, return_tensors="pt").to(model.device)
    with torch.inference_mode():
        logits = model(**inputs).logits
        output = model.generate(**inputs, do_sample=False, max_new_tokens=_ANSWER_TOKENS)
    if not math.isfinite(float(logits.float().abs().max())):
        yield Fault(key="model", rule="gives logits that are not finite", remedy="look at training_curves.png")
    if output.shape[1] <= inputs["input_ids"].shape[1]:
        yield Fault(key="model", rule="generates nothing", remedy="check generation_config.json")


def score_faults(folder: Path) -> Iterator[Fault]:
    """What is wrong once a reward model is loaded and scores something. Takes as much memory as the weights."""
    from alignment.scoring.load import load_scorer

    question = {"role": "user", "content": "Why does bread rise?"}
    try:
        load_scorer(folder).score([[question, {"role": "assistant", "content": "Yeast makes gas of sugar."}]])
    except UserError as error:
        yield from error.faults


def _tokenizer(folder: Path, run: FinishedRun) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer

    trust = bool(run.manifest["recipe"].get("trust_remote_code"))
    return AutoTokenizer.from_pretrained(folder, trust_remote_code=trust)


def _model(folder: Path, run: FinishedRun) -> PreTrainedModel:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from alignment.modeling.load import attention_implementation

    trust = bool(run.manifest["recipe"].get("trust_remote_code"))
    config = AutoConfig.from_pretrained(folder, trust_remote_code=trust)
    model: Any = AutoModelForCausalLM.from_pretrained(
        folder, dtype="auto", trust_remote_code=trust, attn_implementation=attention_implementation(config, None)
    )
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
