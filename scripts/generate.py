"""Ask a recipe's trained model: `python scripts/generate.py --config <recipe> --prompt "..."`."""

from __future__ import annotations

import argparse
import dataclasses
import sys

from alignment.cli import guarded
from alignment.errors import Fault, SetupError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, metavar="RECIPE", help="recipe name or path of a YAML file")
    parser.add_argument("--prompt", required=True, help="what to ask")
    parser.add_argument("--model", help="folder or Hub id to ask instead of the recipe's output_dir")
    parser.add_argument("--max_new_tokens", type=int, default=200)
    parser.add_argument("--temperature", type=float, default=0.0, help="0 (the default) is greedy")
    args, overrides = parser.parse_known_args()
    if args.max_new_tokens < 1:
        raise SetupError(Fault(key="max_new_tokens", value=args.max_new_tokens, rule="must be at least 1"))
    if not args.prompt.strip():
        raise SetupError(
            Fault(key="prompt", rule="is empty", remedy='give one: make generate PROMPT="Why is the sky blue?"')
        )

    import torch

    from alignment.generate import generate, trained_model
    from alignment.modeling.load import as_saved
    from alignment.recipe import load_recipe
    from alignment.run import chat_template

    recipe = load_recipe(args.config, overrides)
    model = dataclasses.replace(
        as_saved(recipe.model, args.model or str(trained_model(recipe))),
        dtype="bfloat16" if torch.cuda.is_available() else "float32",
    )
    generate(
        model,
        args.prompt,
        chat_template=chat_template(recipe),
        max_new_tokens=args.max_new_tokens,
        temperature=args.temperature,
    )


if __name__ == "__main__":
    sys.exit(guarded(main))
