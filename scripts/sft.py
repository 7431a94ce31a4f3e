"""Train an sft recipe: `accelerate launch scripts/sft.py --config <recipe> [--key value ...]`."""

from alignment.cli.app import main

if __name__ == "__main__":
    main("train", method="sft")
