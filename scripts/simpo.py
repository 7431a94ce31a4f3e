"""Train a simpo recipe: `accelerate launch scripts/simpo.py --config <recipe> [--key value ...]`."""

from alignment.cli.app import main

if __name__ == "__main__":
    main("train", method="simpo")
