"""What a recipe can state about model and data. Names follow TRL and upstream's alignment-handbook.

Training keys are the fields of the method's own config class (`alignment.methods`), so they are not repeated here.
Light imports only: this module is read by everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from alignment.recipe.cleaning import Decontamination, Deduplication
from alignment.recipe.dataset_formats import DatasetFormat
from alignment.recipe.selection import SelectionSettings


@dataclass(frozen=True, kw_only=True)
class ModelArguments:
    """Which weights are trained, and how they are held."""

    model_name_or_path: str
    """Hub id, local folder, or `bundled:<name>`."""
    model_revision: str = "main"
    """Branch, tag or commit on the Hub."""
    tokenizer_name_or_path: str | None = None
    """Where the tokenizer comes from when it is not the model's own."""
    trust_remote_code: bool = False
    """Run the code that comes with the model; for repositories you trust."""
    dtype: Literal["float32", "bfloat16", "float16", "auto"] | None = "float32"
    """Precision the weights are loaded and kept in. At learning rates near 1e-6 an update is far below one bf16 step,
    so full fine-tuning keeps fp32 weights and computes in bf16 (`bf16: true`). `null` becomes float32."""
    attn_implementation: str | None = None
    """`eager`, `sdpa`, `flash_attention_2`, ...; the model's default when absent."""

    use_peft: bool = False
    """Train LoRA adapters only."""
    lora_r: int = 16
    """Rank of the adapters."""
    lora_alpha: int = 32
    """Adapter scale; the update is multiplied by lora_alpha / lora_r."""
    lora_dropout: float = 0.05
    """Dropout on the adapter's input."""
    lora_target_modules: tuple[str, ...] | str | None = None
    """Module names, or `all-linear`; peft's choice for the architecture when absent."""
    lora_target_parameters: tuple[str, ...] | None = None
    """Parameter names, for weights that are no modules (experts)."""
    lora_modules_to_save: tuple[str, ...] | None = None
    """Modules trained in full and saved beside the adapters."""
    lora_task_type: Literal["CAUSAL_LM"] = "CAUSAL_LM"
    """peft's task type."""
    use_rslora: bool = False
    """Scale by lora_alpha / sqrt(lora_r)."""
    use_dora: bool = False
    """Weight-decomposed adapters."""

    load_in_8bit: bool = False
    """Hold frozen weights in int8 (bitsandbytes)."""
    load_in_4bit: bool = False
    """Hold frozen weights in 4 bits (bitsandbytes): QLoRA."""
    bnb_4bit_quant_type: Literal["nf4", "fp4"] = "nf4"
    """4-bit data type."""
    use_bnb_nested_quant: bool = False
    """Quantize the quantization constants too."""
    bnb_4bit_quant_storage: str | None = None
    """dtype that the packed 4-bit weights are stored in; bfloat16 lets FSDP and ZeRO-3 shard them."""

    def __post_init__(self) -> None:
        # `torch_dtype: null` loaded fp32 in the released recipes; transformers 5 reads a null as "auto", often bf16.
        object.__setattr__(self, "dtype", self.dtype or "float32")


@dataclass(frozen=True, kw_only=True)
class DatasetSource:
    """One entry of `dataset_mixture.datasets`."""

    id: str
    """Hub id, or a local JSON/JSONL/Parquet file or folder."""
    config: str | None = None
    """Configuration (subset) of the data set."""
    revision: str | None = None
    """Branch, tag or commit on the Hub."""
    split: str = "train"
    """Split to take."""
    columns: tuple[str, ...] | None = None
    """Columns to keep; all when absent."""
    dataset_format: DatasetFormat | None = None
    """As below, for this source."""
    column_map: dict[str, str | None] | None = None
    """As below, for this source."""
    weight: float = 1.0
    """Share of the rows to keep, above 0 and at most 1."""


@dataclass(frozen=True, kw_only=True)
class DatasetMixture:
    """Several sources concatenated and shuffled."""

    datasets: tuple[DatasetSource, ...]
    """The sources, at least one."""
    seed: int = 0
    """Seed of the subsets, the shuffle and the test split."""
    test_split_size: int | float | None = None
    """Rows (>= 1) or share of the rows (< 1) held out as test split; none when absent."""


@dataclass(frozen=True, kw_only=True)
class DataArguments:
    """Which rows are trained on, and how they become text. Exactly one of dataset_name and dataset_mixture is set."""

    dataset_name: str | None = None
    """Hub id, or a local JSON/JSONL/Parquet file or folder."""
    dataset_config: str | None = None
    """Configuration (subset) of the data set."""
    dataset_revision: str | None = None
    """Branch, tag or commit on the Hub."""
    dataset_train_split: str = "train"
    """Split that is trained on."""
    dataset_test_split: str | None = None
    """Split that is evaluated on: `test` when absent, and none at all unless eval_strategy asks for evaluation."""
    dataset_mixture: DatasetMixture | None = None
    """Several data sets instead of one."""
    dataset_format: DatasetFormat = "auto"
    """What shape its rows have (docs/data.md); told by the rows themselves when `auto`."""
    column_map: dict[str, str | None] | None = None
    """Their column: ours, to rename one; their column: null, to leave one out."""
    selection: SelectionSettings | None = None
    """Which of the scored answers to a prompt become a pair: the best against the worst when absent."""
    chat_template: str | None = None
    """Inline Jinja, a file, or the name of a shipped template (`gemma2`); the tokenizer's own when absent. A `Recipe`
    holds the Jinja source."""
    on_bad_row: Literal["error", "drop"] = "error"
    """What to do with rows that cannot be trained on."""
    dataset_num_proc: int | None = None
    """Processes that check and tokenize."""
    max_train_samples: int | None = None
    """Train on the first rows only, for a trial."""
    max_eval_samples: int | None = None
    """Evaluate on the first rows only."""
    deduplicate: Deduplication | None = None
    """Training rows that are there more than once."""
    decontaminate: Decontamination | None = None
    """Training prompts that are evaluation prompts, or hold them."""
