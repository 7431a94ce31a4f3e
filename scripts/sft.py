"""Train a sft recipe: `accelerate launch scripts/sft.py --config <recipe> [--key value ...]`."""

from alignment.cli import train

if __name__ == "__main__":
    train("sft")
