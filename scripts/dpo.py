"""Train a dpo recipe: `accelerate launch scripts/dpo.py --config <recipe> [--key value ...]`."""

from alignment.cli import train

if __name__ == "__main__":
    train("dpo")
