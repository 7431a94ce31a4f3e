"""How long tokenised pairs are, and how many lost tokens to truncation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datasets import Dataset
    from numpy.typing import NDArray

QUANTILES = (0.1, 0.5, 0.9, 0.99)


@dataclass(frozen=True, kw_only=True)
class TokenStatistics:
    """Facts about a tokenised data set; lengths are in tokens."""

    rows: int
    """Pairs."""
    prompts_cut: int
    """Prompts that lost tokens to truncation."""
    chosen_cut: int
    """Chosen completions that lost tokens, and with them their end-of-sequence token."""
    rejected_cut: int
    """Rejected completions that lost tokens, and with them their end-of-sequence token."""
    lengths: Mapping[str, Mapping[str, float]]
    """For `prompt`, `chosen`, `rejected` and `pair` (the longer of the two sequences): mean, p10, p50, p90,
    p99, max."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        lines = [
            f"{self.rows:,} pairs; truncated: {self.prompts_cut:,} prompts, {self.chosen_cut:,} chosen and "
            f"{self.rejected_cut:,} rejected completions"
        ]
        for name, numbers in self.lengths.items():
            shown = ", ".join(f"{key} {value:,.0f}" for key, value in numbers.items())
            lines.append(f"{name:>8} tokens: {shown}")
        return "\n".join(lines)


def token_statistics(dataset: Dataset) -> TokenStatistics:
    """Statistics of a data set with the id columns and `cut_prompt`, `cut_chosen`, `cut_rejected`."""
    import numpy as np
    import pyarrow.compute as pc

    table = dataset.with_format("arrow")[:]
    prompt, chosen, rejected = (
        pc.list_value_length(table[f"{side}_ids"]).to_numpy() for side in ("prompt", "chosen", "rejected")
    )
    lengths = {
        "prompt": prompt,
        "chosen": chosen,
        "rejected": rejected,
        "pair": prompt + np.maximum(chosen, rejected),
    }
    return TokenStatistics(
        rows=len(dataset),
        **{
            name: int(np.count_nonzero(table[column].to_numpy()))
            for name, column in (
                ("prompts_cut", "cut_prompt"),
                ("chosen_cut", "cut_chosen"),
                ("rejected_cut", "cut_rejected"),
            )
        },
        lengths={name: quantiles(values) for name, values in lengths.items()},
    )


def quantiles(lengths: Sequence[int] | NDArray[Any]) -> dict[str, float]:
    """Mean, quantiles and maximum of lengths in tokens."""
    import numpy as np

    return {
        "mean": float(np.mean(lengths)),
        **{f"p{round(100 * q)}": float(np.quantile(lengths, q)) for q in QUANTILES},
        "max": float(np.max(lengths)),
    }
