"""Sampling from a model and judging the answers by a rule that a program can check.

`rules` says what a good answer is, `generate` draws answers, `interval` says how sure we are, `measure` and
`compare` put a number before and after training on the same held-out prompts. Import what you need from these
modules: this file stays empty so that `alignment.sampling.config` costs a recipe check no heavy import.
"""
