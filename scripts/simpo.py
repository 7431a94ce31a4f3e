"""Train a simpo recipe: `accelerate launch scripts/simpo.py --config <recipe> [--key value ...]`."""

from alignment.cli import train

if __name__ == "__main__":
    train("simpo")
