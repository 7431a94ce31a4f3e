"""Train any recipe, whatever its method: `accelerate launch scripts/train.py --config <recipe> [--key value ...]`."""

from alignment.cli.app import main

if __name__ == "__main__":
    main("train")
