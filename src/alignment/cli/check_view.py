"""The data of a recipe on the terminal: the report as a table, and one row in color."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from alignment.data.token_check import ENDLESS, FULL
from alignment.errors import printable

if TYPE_CHECKING:
    from rich.console import Console

_STYLES = {"read": "cyan", "scored": "green", "cut": "red strike", "special": "bold reverse"}
"""How the tokens of a row look: those that are only read, scored, taken away by truncation, and control tokens."""
_LONGEST = 600
"""Characters of a piece that are shown."""

_BIAS = (
    ("chosen_longer", "chosen is longer"),
    ("rejected_longer", "rejected is longer"),
)
_CORRELATIONS = (
    ("preference_correlation", "length against preference, r"),
    ("score_correlation", "length against score, r"),
)


def show_inspection(console: Console, found: Mapping[str, Any], *, on_bad_row: str) -> None:
    """Print what `alignment.run.inspect_data.inspect` found."""
    console.print("\nData", style="italic")
    if found["data"] is None:
        console.print(escape(f"{found['data_missing']}."))
        return
    show_report(console, found, on_bad_row=on_bad_row)
    if found["tokens_missing"]:
        console.print(escape(f"Without tokens, as the tokenizer cannot be had here: {found['tokens_missing']}"))
    if found["pair"] is not None:
        show_pair(console, found["pair"])


def show_report(console: Console, report: Mapping[str, Any], *, on_bad_row: str) -> None:
    """Print the `data` and `tokens` of a report."""
    for line in source_lines(report["data"], on_bad_row=on_bad_row):
        console.print(escape(line))
    console.print(_table(report["data"], report["tokens"] or {}))
    for line in closing_lines(report["data"]):
        console.print(escape(line))


def source_lines(data: Mapping[str, Any], *, on_bad_row: str) -> Iterator[str]:
    """One line for each source, and one for its bad rows."""
    for source in data["sources"]:
        unread = f"; not read: {', '.join(source['unread'])}" if source["unread"] else ""
        yield f"{source['name']}: {source['rows']:,} good rows, read as {source['format']}{unread}"
        if source["dropped"]:
            reasons = ", ".join(f"{count:,} x {reason}" for reason, count in source["dropped"].items())
            then = "training leaves them out" if on_bad_row == "drop" else "training stops at them (on_bad_row: error)"
            yield f"{source['name']}: bad rows: {reasons}; {then}"


def closing_lines(data: Mapping[str, Any]) -> Iterator[str]:
    """What is no number of one split."""
    if data["chosen_equals_rejected"] is not None:
        yield f"chosen equal to rejected: {data['chosen_equals_rejected']:,} rows"
    if data["train_test_overlap"] is not None:
        both = data["train_test_overlap"]
        yield f"prompts of both splits: {both['train_rows']:,} training rows, {both['test_rows']:,} test rows"
    for finding in data.get("cleaning", ()):
        yield f"{finding['reason']}: {finding['rows']:,} training rows (action: {finding['action']})"
    if missing := data.get("cleaning_missing"):
        yield f"deduplicate and decontaminate: not looked for: {missing}"


def _table(data: Mapping[str, Any], tokens: Mapping[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for name in data["splits"]:
        table.add_column(name, justify="right")
    columns = [dict(_cells(split, tokens.get(name))) for name, split in data["splits"].items()]
    for label in dict.fromkeys(label for column in columns for label in column):
        table.add_row(label, *(escape(column.get(label, "")) for column in columns))
    return table


def _cells(split: Mapping[str, Any], tokens: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    yield "rows", f"{split['rows']:,}"
    yield "exact duplicates", f"{split['exact_duplicates']:,}"
    shared = split["identical_prompts"]
    yield "rows that share their prompt", f"{shared['rows']:,} ({shared['prompts']:,} prompts)"
    if (bias := split["length_bias"]) is not None:
        yield from ((label, f"{100 * bias[key]:.1f} %") for key, label in _BIAS)
        yield "characters of chosen, rejected", f"{bias['mean_chosen']:,.0f}, {bias['mean_rejected']:,.0f}"
        yield from ((label, f"{bias[key]:+.2f}") for key, label in _CORRELATIONS if bias[key] is not None)
    languages = split["languages"]
    counts = ", ".join(f"{name} {100 * rows / languages['rows']:.0f} %" for name, rows in languages["counts"].items())
    yield "languages", f"{counts}{_of(languages['rows'], split['rows'])}"
    if tokens is not None:
        yield from _token_cells(tokens)


def _token_cells(tokens: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "missing" in tokens:
        yield "rows tokenized", tokens["missing"]
        return
    yield "rows tokenized", f"{tokens['rows']:,} of {tokens['of']:,}"
    for part, lengths in tokens["lengths"].items():
        yield f"tokens of {part}, median, most", f"{lengths['p50']:,.0f}, {lengths['max']:,.0f}"
    for part, rows in tokens["cut"].items():
        yield f"{part} truncated", f"{rows:,}"
    yield "answers that lost their end to truncation", f"{sum(tokens['end_lost'].values()):,}"
    yield "answers without an end", f"{tokens['no_end']:,}"
    yield "prompt fills max_length", f"{tokens['prompt_fills_max_length']:,}"
    for reason, rows in {**tokens["left_out"], **tokens["noted"]}.items():
        if reason not in (ENDLESS, FULL):
            yield reason, f"{rows:,}"


def _of(rows: int, total: int) -> str:
    return "" if rows == total else f" ({rows:,} of {total:,} rows)"


def show_pair(console: Console, view: Mapping[str, Any]) -> None:
    """Print what `alignment.data.pair_view.pair_view` made."""
    legend = Text("\nAs the model sees it: ")
    for name, style in _STYLES.items():
        legend.append(name, style).append(" ")
    console.print(legend, end="")
    console.print(escape(f"({view['row']})"))
    for part in view["parts"]:
        cut = f", {part['cut']:,} cut" if part["cut"] else ""
        text = Text(f"{part['name']}: {part['tokens']:,} tokens{cut}\n", style="bold")
        for cut, run in groupby(part["pieces"], key=itemgetter("cut")):
            pieces = list(run)
            # For want of color, what is cut stands in marks.
            text.append(f"⟦cut {sum(piece['tokens'] for piece in pieces)}: " if cut else "", "red")
            for piece in pieces:
                text.append(_shown(piece["text"]), _style(piece))
            text.append("⟧" if cut else "", "red")
        console.print(text)


def _style(piece: Mapping[str, Any]) -> str:
    seen = "cut" if piece["cut"] else "scored" if piece["scored"] else "read"
    return f"not bold {_STYLES[seen]}" + (f" {_STYLES['special']}" if piece["special"] else "")


def _shown(text: str) -> str:
    """A text that any terminal can show, its middle left out when it is long."""
    half = _LONGEST // 2
    if len(text) > _LONGEST:
        text = f"{text[:half]} [... {len(text) - 2 * half:,} characters ...] {text[-half:]}"
    return printable(text)
