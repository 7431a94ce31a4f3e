"""Train a orpo recipe: `accelerate launch scripts/orpo.py --config <recipe> [--key value ...]`."""

from alignment.cli import train

if __name__ == "__main__":
    train("orpo")
