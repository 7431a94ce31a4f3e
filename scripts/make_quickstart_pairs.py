"""Makes the preference pairs of recipes/quickstart: our own questions, the model's own answers, a rule that judges.

    python scripts/make_quickstart_pairs.py

1. Sample: twelve answers of the bundled SmolLM2-135M-Instruct to each question of recipes/quickstart/prompts/
   {train,heldout}.jsonl (temperature 0.7, the whole softmax, 96 tokens): three to the question alone, and nine with a
   system message that asks for brevity (STYLES). Unasked, the model hardly ever keeps the house style, and a pair
   needs one answer that does. Training never shows these system messages, so the model learns to do unasked what it
   can do when asked. Answers go to --samples, a chunk at a time; run the command again after an interruption and it
   goes on where it stopped. About twenty minutes on two cores.
2. Judge: each answer by `alignment.scoring.rules.RULES[--rule]`.
3. Pair: an answer that complies against the worst one that runs on (unfinished or too long), and the next that
   complies against the worst one that falls short (finished, not too long, wrong all the same). Answers that run on are
   far more frequent; trained on them alone, the model answers ever shorter until it falls short.

Writes recipes/quickstart/data/train.jsonl and test.jsonl (from the held-out questions: for the evaluation loss
only, never trained on). Rows hold `prompt`, `chosen` and `rejected` as message lists, and both scores. The same
samples give the same files, byte for byte.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from alignment.generation.answers import Answer, draw_answers
from alignment.scoring.rules import RULES, WORDS_MAX, WORDS_MIN, Judgment, words

HERE = Path(__file__).resolve().parent.parent / "recipes" / "quickstart"
SPLITS = {"train": "train", "heldout": "test"}
"""Prompt file -> data file."""
STYLES: tuple[tuple[int, str | None], ...] = (
    (3, None),
    (5, "You answer every question in one or two short, plain sentences."),
    (4, "Answer in five words or fewer."),
)
"""Answers to each question, and the system message before it."""
QUESTIONS_AT_ONCE = 16
MIDDLE_WORDS = (WORDS_MIN + WORDS_MAX) // 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--samples", type=Path, default=Path("outputs/quickstart-samples"), help="folder of the answers"
    )
    parser.add_argument("--rule", default="house_style", choices=sorted(RULES))
    parser.add_argument("--max-new-tokens", type=int, default=96)
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--gap", type=float, default=0.3, help="least difference of scores within a pair")
    options = parser.parse_args()

    for prompts_name, data_name in SPLITS.items():
        prompts = [row["prompt"] for row in read_rows(HERE / "prompts" / f"{prompts_name}.jsonl")]
        answers = sample(prompts, options.samples / f"{prompts_name}.jsonl", options)
        rows = [row for prompt in prompts for row in pairs(prompt, answers[prompt], rule=options.rule, gap=options.gap)]
        target = HERE / "data" / f"{data_name}.jsonl"
        write_rows(target, rows)
        print(f"{target}: {len(rows)} pairs from {len(prompts)} questions, {target.stat().st_size / 1024:.0f} KiB")


def sample(prompts: Sequence[str], store: Path, options: argparse.Namespace) -> dict[str, list[Answer]]:
    """The answers to each prompt; those already in `store` are read, the others drawn and added chunk by chunk."""
    done = {entry["prompt"]: [Answer(**answer) for answer in entry["answers"]] for entry in read_rows(store)}
    missing = [prompt for prompt in prompts if prompt not in done]
    if not missing:
        return done
    from rich.progress import track
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from alignment.hub.bundled import resolve_bundled

    folder = resolve_bundled("bundled:SmolLM2-135M-Instruct")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="bfloat16")
    store.parent.mkdir(parents=True, exist_ok=True)
    for start in track(range(0, len(missing), QUESTIONS_AT_ONCE), description=f"Answers to {store.stem} questions"):
        asked = missing[start : start + QUESTIONS_AT_ONCE]
        by_style = [
            draw_answers(
                model,
                tokenizer,
                asked,
                samples=samples,
                max_new_tokens=options.max_new_tokens,
                temperature=options.temperature,
                # By the chunk's place in the whole list, so that a resumed run draws what an uninterrupted one does.
                seed=options.seed + prompts.index(asked[0]),
                batch_size=samples * QUESTIONS_AT_ONCE,
                system=system,
            )
            for samples, system in STYLES
        ]
        drawn = [[answer for group in groups for answer in group] for groups in zip(*by_style, strict=True)]
        with store.open("a", encoding="utf-8") as file:
            for prompt, answers in zip(asked, drawn, strict=True):
                file.write(dump({"prompt": prompt, "answers": [asdict(answer) for answer in answers]}))
        done |= dict(zip(asked, drawn, strict=True))
    return done


def pairs(prompt: str, answers: Sequence[Answer], *, rule: str, gap: float) -> list[dict[str, Any]]:
    """At most two pairs of one question: against an answer that runs on, and against one that falls short.

    The answers that comply are taken in the order of their distance from the middle of the allowed length; when only
    one does, it stands in both pairs. `gap` is the least lead in score.
    """
    judge = RULES[rule].judge
    distinct = {answer.text: answer for answer in answers if answer.text}
    judged = [(answer, judge(prompt, answer.text, answer.finished)) for answer in distinct.values()]
    good = sorted(
        (item for item in judged if item[1].complies), key=lambda item: abs(len(words(item[0].text)) - MIDDLE_WORDS)
    )
    worst_first = sorted((item for item in judged if not item[1].complies), key=lambda item: item[1].score)
    running_on = [item for item in worst_first if {"unfinished", "too_long"} & set(item[1].violations)]
    falling_short = [item for item in worst_first if item not in running_on]
    rows = []
    for place, bad in enumerate((running_on, falling_short)):
        if good and bad:
            (better, above), (worse, below) = good[min(place, len(good) - 1)], bad[0]
            if above.score - below.score >= gap:
                rows.append(row(prompt, better, worse, above, below))
    return rows


def row(prompt: str, better: Answer, worse: Answer, above: Judgment, below: Judgment) -> dict[str, Any]:
    question = {"role": "user", "content": prompt}
    return {
        "prompt": prompt,
        "chosen": [question, {"role": "assistant", "content": better.text}],
        "rejected": [question, {"role": "assistant", "content": worse.text}],
        "score_chosen": round(above.score, 3),
        "score_rejected": round(below.score, 3),
    }


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSONL file; none when it does not exist yet."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(dump(entry) for entry in rows), encoding="utf-8")


def dump(entry: dict[str, Any]) -> str:
    return json.dumps(entry, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    main()
