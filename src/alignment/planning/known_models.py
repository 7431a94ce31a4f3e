"""The sizes of well-known models, so that a plan needs no file of theirs.

Numbers of the makers' published `config.json` files, and nothing else of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any


@dataclass(frozen=True, kw_only=True)
class KnownModel:
    """One size of a family."""

    ids: tuple[str, ...]
    """Hub ids, compared without regard to case; `*` stands for anything."""
    config: str
    """Class of its configuration in transformers."""
    sizes: tuple[int, ...]
    """Hidden size, feed-forward size, layers, query heads, key heads, vocabulary; then the head size, where it is not
    hidden size / heads."""
    tied: bool = False
    """The output head is the embedding."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What else decides its arithmetic."""

    def make_config(self) -> Any:
        """Its configuration, as transformers has it."""
        import transformers

        names = (
            *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads"),
            *("vocab_size", "head_dim"),
        )
        named = dict(zip(names, self.sizes, strict=False))
        return getattr(transformers, self.config)(**named, tie_word_embeddings=self.tied, **self.settings)


def known_model(name: str) -> KnownModel | None:
    """The sizes of the model with this id."""
    lower = name.lower()
    return next((m for m in KNOWN_MODELS if any(fnmatchcase(lower, pattern.lower()) for pattern in m.ids)), None)


def _gemma2(size: str, *sizes: int, scale: int = 256) -> KnownModel:
    return KnownModel(
        ids=(f"google/gemma-2-{size}", f"google/gemma-2-{size}-it", f"princeton-nlp/gemma-2-{size}-it-*"),
        config="Gemma2Config",
        sizes=sizes,
        tied=True,
        settings={"query_pre_attn_scalar": scale},
    )


def _llama(ids: tuple[str, ...], *sizes: int, tied: bool = False) -> KnownModel:
    return KnownModel(ids=ids, config="LlamaConfig", sizes=sizes, tied=tied)


def _mistral(ids: tuple[str, ...], *sizes: int, config: str = "MistralConfig") -> KnownModel:
    return KnownModel(ids=ids, config=config, sizes=sizes, settings={"sliding_window": None})


def _qwen(series: str, config: str, table: Mapping[str, tuple[bool, tuple[int, ...]]]) -> Iterator[KnownModel]:
    for size, (tied, sizes) in table.items():
        ids = (f"Qwen/{series}-{size}", f"Qwen/{series}-{size}-Instruct", f"Qwen/{series}-{size}-Base")
        yield KnownModel(ids=ids, config=config, sizes=sizes, tied=tied)


def _phi(ids: tuple[str, ...], *sizes: int, tied: bool = False) -> KnownModel:
    # The class's own padding token lies outside the vocabulary of the larger ones.
    return KnownModel(ids=ids, config="Phi3Config", sizes=sizes, tied=tied, settings={"pad_token_id": None})


def _starcoder2(size: str, *sizes: int, tied: bool = True) -> KnownModel:
    return KnownModel(
        ids=(f"bigcode/starcoder2-{size}*",),
        config="Starcoder2Config",
        sizes=sizes,
        tied=tied,
        settings={"bos_token_id": 0, "eos_token_id": 0},
    )


KNOWN_MODELS: tuple[KnownModel, ...] = (
    _gemma2("2b", 2304, 9216, 26, 8, 4, 256_000, 256),
    _gemma2("9b", 3584, 14336, 42, 16, 8, 256_000, 256),
    _gemma2("27b", 4608, 36864, 46, 32, 16, 256_000, 128, scale=144),
    KnownModel(
        ids=("google/gemma-3-1b-pt", "google/gemma-3-1b-it"),
        config="Gemma3TextConfig",
        sizes=(1152, 6912, 26, 4, 1, 262_144, 256),
        tied=True,
        settings={"sliding_window": 512},
    ),
    _llama(
        (
            "*/Meta-Llama-3-8B*",
            "*/Llama-3-8B*",
            "*/Meta-Llama-3.1-8B*",
            "*/Llama-3.1-8B*",
            "princeton-nlp/Llama-3-*-8B*",
        ),
        *(4096, 14336, 32, 32, 8, 128_256),
    ),
    _llama(
        ("*/Meta-Llama-3-70B*", "*/Meta-Llama-3.1-70B*", "*/Llama-3.1-70B*", "*/Llama-3.3-70B*"),
        *(8192, 28672, 80, 64, 8, 128_256),
    ),
    _llama(("meta-llama/Llama-3.2-1B*",), 2048, 8192, 16, 32, 8, 128_256, 64, tied=True),
    _llama(("meta-llama/Llama-3.2-3B*",), 3072, 8192, 28, 24, 8, 128_256, 128, tied=True),
    _mistral(
        (
            "mistralai/Mistral-7B-v0.1",
            "mistralai/Mistral-7B-Instruct-v0.[12]",
            "*/zephyr-7b-*",
            "princeton-nlp/Mistral-7B-*",
        ),
        *(4096, 14336, 32, 32, 8, 32_000),
    ),
    _mistral(("mistralai/Mistral-7B-v0.3", "mistralai/Mistral-7B-Instruct-v0.3"), 4096, 14336, 32, 32, 8, 32_768),
    _mistral(("mistralai/Mixtral-8x7B-*",), 4096, 14336, 32, 32, 8, 32_000, config="MixtralConfig"),
    _mistral(
        ("mistralai/Mixtral-8x22B-v0.1", "mistral-community/Mixtral-8x22B-v0.1", "HuggingFaceH4/zephyr-orpo-141b-*"),
        *(6144, 16384, 56, 48, 8, 32_000),
        config="MixtralConfig",
    ),
    *_qwen(
        "Qwen2.5",
        "Qwen2Config",
        {
            "0.5B": (True, (896, 4864, 24, 14, 2, 151_936)),
            "1.5B": (True, (1536, 8960, 28, 12, 2, 151_936)),
            "3B": (True, (2048, 11008, 36, 16, 2, 151_936)),
            "7B": (False, (3584, 18944, 28, 28, 4, 152_064)),
            "14B": (False, (5120, 13824, 48, 40, 8, 152_064)),
            "32B": (False, (5120, 27648, 64, 40, 8, 152_064)),
            "72B": (False, (8192, 29568, 80, 64, 8, 152_064)),
        },
    ),
    *_qwen(
        "Qwen3",
        "Qwen3Config",
        {
            "0.6B": (True, (1024, 3072, 28, 16, 8, 151_936, 128)),
            "1.7B": (True, (2048, 6144, 28, 16, 8, 151_936, 128)),
            "4B": (True, (2560, 9728, 36, 32, 8, 151_936, 128)),
            "8B": (False, (4096, 12288, 36, 32, 8, 151_936, 128)),
            "14B": (False, (5120, 17408, 40, 40, 8, 151_936, 128)),
            "32B": (False, (5120, 25600, 64, 64, 8, 151_936, 128)),
        },
    ),
    _phi(("microsoft/Phi-3-mini-*", "microsoft/Phi-3.5-mini-*"), 3072, 8192, 32, 32, 32, 32_064),
    _phi(("microsoft/Phi-3-medium-*",), 5120, 17920, 40, 40, 10, 32_064),
    _phi(("microsoft/phi-4",), 5120, 17920, 40, 40, 10, 100_352),
    _llama(("*SmolLM2-135M*",), 576, 1536, 30, 9, 3, 49_152, tied=True),
    _llama(("*SmolLM2-360M*",), 960, 2560, 32, 15, 5, 49_152, tied=True),
    _llama(("*SmolLM2-1.7B*",), 2048, 8192, 24, 32, 32, 49_152, tied=True),
    KnownModel(
        ids=("HuggingFaceTB/SmolLM3-3B*",),
        config="SmolLM3Config",
        sizes=(2048, 11008, 36, 16, 4, 128_256),
        tied=True,
    ),
    _starcoder2("3b", 3072, 12288, 30, 24, 2, 49_152),
    _starcoder2("7b", 4608, 18432, 32, 36, 4, 49_152),
    _starcoder2("15b", 6144, 24576, 40, 48, 4, 49_152, tied=False),
)
