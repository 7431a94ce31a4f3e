"""How long tokenized pairs are, and how many lost tokens to truncation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from alignment.data.encode import IGNORED

if TYPE_CHECKING:
    from datasets import Dataset
    from numpy.typing import NDArray

QUANTILES = (0.1, 0.5, 0.9, 0.99)


@dataclass(frozen=True, kw_only=True)
class TokenStatistics:
    """Facts about the tokenized rows that are trained on; lengths are in tokens."""

    rows: int
    """Pairs, or conversations."""
    cut: Mapping[str, int]
    """For `prompt`, `chosen`, `rejected`, or for `conversation`: how many lost tokens to truncation. A completion that
    is cut lost its end-of-sequence token too."""
    lengths: Mapping[str, Mapping[str, float]]
    """For `prompt`, `chosen`, `rejected` and `pair` (the longer of the two sequences), or for `conversation` and
    `trained` (the tokens of it that are): mean, p10, p50, p90, p99, max."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        cut = ", ".join(f"{count:,} {part}" for part, count in self.cut.items())
        lines = [f"{self.rows:,} rows; truncated: {cut}"]
        for name, numbers in self.lengths.items():
            shown = ", ".join(f"{key} {value:,.0f}" for key, value in numbers.items())
            lines.append(f"{name:>12} tokens: {shown}")
        return "\n".join(lines)


def token_statistics(dataset: Dataset) -> TokenStatistics:
    """Statistics of a data set of at least one row, with the columns that `Encoder` makes."""
    import numpy as np
    import pyarrow.compute as pc

    table = dataset.with_format("arrow")[:]

    def lengths(column: str) -> NDArray[Any]:
        return pc.list_value_length(table[column]).to_numpy()

    if "labels" in table.column_names:
        measured = {"conversation": lengths("input_ids"), "trained": _trained(table["labels"])}
    else:
        measured = {side: lengths(f"{side}_ids") for side in ("prompt", "chosen", "rejected")}
        measured["pair"] = measured["prompt"] + np.maximum(measured["chosen"], measured["rejected"])
    return TokenStatistics(
        rows=len(dataset),
        cut={
            column.removeprefix("cut_"): int(np.count_nonzero(table[column].to_numpy()))
            for column in table.column_names
            if column.startswith("cut_")
        },
        lengths={name: quantiles(values) for name, values in measured.items()},
    )


def _trained(labels: Any) -> NDArray[Any]:
    """Of each list of labels, how many are not `IGNORED`."""
    import numpy as np
    import pyarrow.compute as pc

    counts = []
    for chunk in labels.chunks:
        ends = np.cumsum(pc.list_value_length(chunk).to_numpy())
        before = np.concatenate([[0], np.cumsum(chunk.flatten().to_numpy() != IGNORED)])
        counts.append(np.diff(before[np.concatenate([[0], ends])]))
    return np.concatenate(counts)


def quantiles(lengths: Sequence[int] | NDArray[Any]) -> dict[str, float]:
    """Mean, quantiles and maximum of lengths in tokens."""
    import numpy as np

    return {
        "mean": float(np.mean(lengths)),
        **{f"p{round(100 * q)}": float(np.quantile(lengths, q)) for q in QUANTILES},
        "max": float(np.max(lengths)),
    }
