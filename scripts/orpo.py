"""Train an orpo recipe: `accelerate launch scripts/orpo.py --config <recipe> [--key value ...]`."""

from alignment.cli.app import main

if __name__ == "__main__":
    main("train", method="orpo")
