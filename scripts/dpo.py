"""Train a dpo recipe: `accelerate launch scripts/dpo.py --config <recipe> [--key value ...]`."""

from alignment.cli.app import main

if __name__ == "__main__":
    main("train", method="dpo")
