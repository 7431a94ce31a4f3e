"""Whom a model card must name: licenses of base models, and papers behind models and data sets."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

GEMMA = """@misc{gemma_2024,
  title = {Gemma},
  author = {Gemma Team},
  publisher = {Kaggle},
  year = {2024},
  doi = {10.34740/KAGGLE/M/3301},
  url = {https://www.kaggle.com/m/3301}
}"""

ULTRAFEEDBACK = """@article{cui2023ultrafeedback,
  title = {UltraFeedback: Boosting Language Models with Scaled AI Feedback},
  author = {Cui, Ganqu and Yuan, Lifan and Ding, Ning and others},
  journal = {arXiv preprint arXiv:2310.01377},
  year = {2023}
}"""

ARMORM = """@article{wang2024armorm,
  title = {Interpretable Preferences via Multi-Objective Reward Modeling and Mixture-of-Experts},
  author = {Wang, Haoxiang and Xiong, Wei and Xie, Tengyang and Zhao, Han and Zhang, Tong},
  journal = {arXiv preprint arXiv:2406.12845},
  year = {2024}
}"""

SMOLLM2 = """@article{allal2025smollm2,
  title = {SmolLM2: When Smol Goes Big -- Data-Centric Training of a Small Language Model},
  author = {Ben Allal, Loubna and Lozhkov, Anton and Bakouch, Elie and others},
  journal = {arXiv preprint arXiv:2502.02737},
  year = {2025}
}"""

TRL = """@software{trl,
  title = {TRL: Transformers Reinforcement Learning},
  author = {von Werra, Leandro and Belkada, Younes and Tunstall, Lewis and others},
  url = {https://github.com/huggingface/trl},
  year = {2020}
}"""


@dataclass(frozen=True, kw_only=True)
class Credit:
    """What is known about a repository on the Hub."""

    license: str | None = None
    """License of the weights, as the Hub spells it."""
    citations: tuple[str, ...] = ()
    """BibTeX entries."""
    languages: tuple[str, ...] = ()
    """Languages, as ISO 639-1 codes."""


MODELS: dict[str, Credit] = {
    "google/gemma-2-*": Credit(license="gemma", citations=(GEMMA,)),
    "princeton-nlp/gemma-2-*": Credit(license="gemma", citations=(GEMMA,)),
    "meta-llama/Meta-Llama-3-*": Credit(license="llama3"),
    "mistralai/Mistral-7B-*": Credit(license="apache-2.0"),
    "alignment-handbook/zephyr-7b-sft-full": Credit(license="apache-2.0"),
    "HuggingFaceTB/SmolLM2-*": Credit(license="apache-2.0", citations=(SMOLLM2,), languages=("en",)),
}
"""Base models by id; `*` stands for any end of the name."""

DATASETS: dict[str, Credit] = {
    "princeton-nlp/gemma2-ultrafeedback-armorm": Credit(citations=(ULTRAFEEDBACK, ARMORM)),
    "princeton-nlp/llama3-ultrafeedback-armorm": Credit(citations=(ULTRAFEEDBACK, ARMORM)),
    "princeton-nlp/llama3-ultrafeedback": Credit(citations=(ULTRAFEEDBACK,)),
    "princeton-nlp/mistral-instruct-ultrafeedback": Credit(citations=(ULTRAFEEDBACK,)),
    "HuggingFaceH4/ultrafeedback_binarized": Credit(citations=(ULTRAFEEDBACK,)),
}
"""Data sets by id."""


def credit(repository: str, table: dict[str, Credit]) -> Credit:
    """What `table` knows about a repository; an empty `Credit` for one it does not know."""
    for pattern, known in table.items():
        if fnmatchcase(repository, pattern):
            return known
    return Credit()
