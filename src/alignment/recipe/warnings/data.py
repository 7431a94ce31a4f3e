"""Warnings about what the rows, the tokenizer and the chat template turned out to be."""

from __future__ import annotations

from alignment.recipe.warnings.facts import Facts

LONGER = 1.5
"""Mean length of the preferred answers over that of the others, from which on length is most of what they say."""


def longer_chosen(facts: Facts) -> str | None:
    chosen, rejected = facts.chosen_tokens, facts.rejected_tokens
    if chosen is None or not rejected or chosen < LONGER * rejected:
        return None
    return (
        f"the preferred answers have {chosen:.0f} tokens on average and the others {rejected:.0f}, "
        f"{chosen / rejected:.1f} times as many: length is the easiest difference to learn, and preference training "
        "is known to take it (arXiv 2403.19159). Choose pairs of like length"
    )


def no_generation_prompt(facts: Facts) -> str | None:
    if facts.header is None or facts.header:
        return None
    return (
        "the chat template writes nothing for add_generation_prompt, so an answer does not begin at inference as it "
        "does in training. Use a template that writes the assistant's header there (gemma2, llama3, mistral, zephyr, "
        "chatml are shipped)"
    )


def base_model(facts: Facts) -> str | None:
    if facts.own_template is not False or not facts.pairs:
        return None
    return (
        "the tokenizer of model_name_or_path has no chat template of its own, so this is probably a base model that "
        "never saw the turns of chat_template; preferences among its answers teach little. All released models start "
        "from one that was fine-tuned on conversations (method: sft first)"
    )


def evaluation_in_training(facts: Facts) -> str | None:
    if not facts.seen_in_training or not facts.evaluation_rows:
        return None
    return (
        f"{facts.seen_in_training:,} of {facts.evaluation_rows:,} evaluation rows are trained on, too: what the "
        "evaluation says is too good. Take them out of one of the two"
    )


def repeated_rows(facts: Facts) -> str | None:
    if facts.rows is None or facts.distinct_rows is None or 2 * facts.distinct_rows >= facts.rows:
        return None
    return (
        f"only {facts.distinct_rows:,} of {facts.rows:,} training rows are different: an epoch shows the same rows "
        "again and again, and they are memorized. Take the repeated ones out"
    )
