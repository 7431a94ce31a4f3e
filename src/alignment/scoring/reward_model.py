"""Sequence-classification reward models: a language model with one number as its head."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from alignment.errors import Fault, SetupError
from alignment.modeling.load import attention_implementation
from alignment.scoring.batching import padded, unused_id
from alignment.scoring.checkpoint import check_loaded, device_and_dtype, explained, loading
from alignment.scoring.model_scorer import BATCH_TOKENS, ModelScorer
from alignment.scoring.scorer import Conversation
from alignment.scoring.tokens import load_scoring_tokenizer, token_limit


def load_reward_model(
    folder: Path,
    name: str,
    *,
    label: int | None = None,
    chat_template: str | None = None,
    max_length: int | None = None,
    batch_tokens: int = BATCH_TOKENS,
    device: str | None = None,
    dtype: str | None = None,
) -> RewardModel:
    """The reward model in `folder`, which the user calls `name`.

    Args:
        label: which of several labels is the score; a model with one label needs none.
        chat_template: in place of the tokenizer's own.
        max_length: tokens that a conversation may have; what the model can take when it is `None`.
        batch_tokens: tokens computed together, padding included.
        device: `cuda` where there is one, else `cpu`, when it is `None`.
        dtype: bf16 on a GPU and fp32 on a CPU, when it is `None`.

    Raises:
        SetupError: it is no reward model with a trained head of one number, or lacks a chat template.
    """
    place, precision = device_and_dtype(device, dtype)
    config, tokenizer, limit = without_weights(
        folder, name, label=label, chat_template=chat_template, max_length=max_length
    )
    with loading(name):
        model, info = AutoModelForSequenceClassification.from_pretrained(
            folder,
            config=config,
            dtype=precision,
            attn_implementation=attention_implementation(config, None),
            trust_remote_code=False,
            output_loading_info=True,
        )
    check_loaded(name, info, unused=("lm_head.",))
    return RewardModel(
        name, tokenizer, model.to(place).eval(), label=label or 0, limit=limit, batch_tokens=batch_tokens
    )


def without_weights(
    folder: Path,
    name: str,
    *,
    label: int | None = None,
    chat_template: str | None = None,
    max_length: int | None = None,
) -> tuple[PretrainedConfig, PreTrainedTokenizerBase, int | None]:
    """Configuration, tokenizer and limit in tokens of the reward model in `folder`; arguments as `load_reward_model`.

    Raises:
        SetupError: it is no reward model, or lacks a chat template.
    """
    with explained(name):
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    _check_head(config, name, label)
    tokenizer = load_scoring_tokenizer(folder, name, chat_template=chat_template)
    return config, tokenizer, token_limit(config, tokenizer, max_length, name=name)


class RewardModel(ModelScorer):
    """The logit of one label, as the model's own classification head gives it."""

    def __init__(
        self,
        name: str,
        tokenizer: PreTrainedTokenizerBase,
        model: PreTrainedModel,
        *,
        label: int,
        limit: int | None,
        batch_tokens: int,
    ) -> None:
        super().__init__(name, tokenizer, limit=limit, batch_tokens=batch_tokens)
        self._model = model
        self._label = label
        self._pad = model.config.get_text_config().pad_token_id
        model.config.get_text_config().use_cache = False

    def forward(self, rows: list[list[int]], conversations: list[Conversation], numbers: list[int]) -> Tensor:
        """See `ModelScorer.forward`."""
        pad = self._pad
        if pad is None:
            # The head reads the last token that is not padding, so any id that ends no row serves.
            pad = unused_id([row[-1] for row in rows])
            self._model.config.get_text_config().pad_token_id = pad
        ids, mask = (tensor.to(self._model.device) for tensor in padded(rows, pad))
        return self._model(input_ids=ids, attention_mask=mask).logits[:, self._label]


def _check_head(config: PretrainedConfig, name: str, label: int | None) -> None:
    """Raise `SetupError` unless the configuration is that of a classifier with the label that is asked for."""
    architectures = getattr(config, "architectures", None) or []
    if architectures and not any("Classification" in architecture for architecture in architectures):
        raise SetupError(
            Fault(
                key="scorer",
                value=name,
                rule=f"is a {architectures[0]}, which has no score head that is known here",
                remedy="give a reward model (AutoModelForSequenceClassification with one label), or ArmoRM",
            )
        )
    labels = config.num_labels
    if label is None and labels != 1:
        raise SetupError(
            Fault(
                key="scorer",
                value=name,
                rule=f"has {labels} labels, and a reward model has one",
                remedy=f"state which one is the score as label: 0 to {labels - 1}, or give a reward model",
            )
        )
    if label is not None and not 0 <= label < labels:
        raise SetupError(Fault(key="label", value=label, rule=f"must be from 0 to {labels - 1}, the labels of {name}"))
