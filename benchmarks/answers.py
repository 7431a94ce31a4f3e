"""What sharing a prompt by all of its answers saves over pairs by themselves: `python benchmarks/answers.py`.

K scored answers to each of a few prompts, the best against each other one and all ordered pairs, as packed pairs (each
with its prompt and both answers) and as rows of `share_answers`: the same losses, timed by turns in one process.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import combinations
from typing import Any

import torch
from datasets import Dataset
from transformers import Gemma2Config, Gemma2ForCausalLM, PreTrainedTokenizerFast

from alignment import SimPOConfig, SimPOTrainer

VOCABULARY, PROMPTS = 4096, 3


def pairs(answers: int, rule: str, *, prompt: int, answer: int) -> list[dict[str, list[int]]]:
    """Token rows of every pair; lengths of answers are spread around `answer`."""
    generator = torch.Generator().manual_seed(0)

    def draw(length: int) -> list[int]:
        return torch.randint(3, VOCABULARY, (length,), generator=generator).tolist()

    rows = []
    for _ in range(PROMPTS):
        question = draw(prompt)
        texts = [draw(max(2, answer * (8 + at) // (7 + answers))) for at in range(answers)]
        chosen = combinations(range(answers), 2) if rule == "all_pairs" else ((0, at) for at in range(1, answers))
        rows += [{"prompt_ids": question, "chosen_ids": texts[a], "rejected_ids": texts[b]} for a, b in chosen]
    return rows


def trainer(rows: list[dict[str, list[int]]], tokenizer: Any, *, share: bool) -> SimPOTrainer:
    """A small Gemma-2 on one CPU process, the same for every arm."""
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=VOCABULARY,
        hidden_size=256,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=32,
        query_pre_attn_scalar=32,
        intermediate_size=1024,
    )
    model = Gemma2ForCausalLM._from_config(config, attn_implementation="eager")
    with tempfile.TemporaryDirectory() as folder:
        args = SimPOConfig(
            folder,
            use_cpu=True,
            bf16=False,
            report_to="none",
            share_answers=share,
            per_device_train_batch_size=len(rows),
        )
        return SimPOTrainer(model, args, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)


def step_of(trained: SimPOTrainer) -> Callable[[], float]:
    """Forward and backward of all rows, as one micro-batch; the loss."""
    batch = trained.data_collator([{**row, "index": at, "weight": 1.0} for at, row in enumerate(trained.train_dataset)])

    def step() -> float:
        trained.model.zero_grad()
        loss = trained.compute_loss(trained.model.train(), batch)
        loss.backward()
        return loss.item()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompt", type=int, default=128, help="tokens of a prompt")
    parser.add_argument("--answer", type=int, default=192, help="tokens of the longest answer")
    parser.add_argument("--repeats", type=int, default=3, help="timed steps of each arm, after one to warm up")
    options = parser.parse_args()
    tokenizer = _tokenizer()
    print(f"{torch.get_num_threads()} CPU threads, prompts of {options.prompt} tokens, answers of {options.answer}")
    print(f"{'answers':>7} {'pairs of a prompt':>20} {'apart s':>9} {'shared s':>9} {'ratio':>6}  loss apart, shared")
    for answers in (2, 4, 5):
        for rule in ("best_against_each", "all_pairs"):
            rows = pairs(answers, rule, prompt=options.prompt, answer=options.answer)
            arms = [step_of(trainer(rows, tokenizer, share=share)) for share in (False, True)]
            losses = [arm() for arm in arms]
            seconds: list[list[float]] = [[], []]
            for _ in range(options.repeats):
                for arm, times in zip(arms, seconds, strict=True):
                    begun = time.perf_counter()
                    arm()
                    times.append(time.perf_counter() - begun)
            apart, shared = (statistics.median(times) for times in seconds)
            what = f"{rule} {len(rows) // PROMPTS}"
            print(
                f"{answers:>7} {what:>20} {apart:>9.2f} {shared:>9.2f} {apart / shared:>6.2f}  "
                f"{losses[0]:.6f}, {losses[1]:.6f}",
                flush=True,
            )


def _tokenizer() -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, models

    words = {f"w{number}": number for number in range(VOCABULARY)}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(words, unk_token="w0")), pad_token="w0", eos_token="w1"
    )


if __name__ == "__main__":
    main()
