"""Rounds of pairs, training and evaluation: `python scripts/loop.py --config <recipe> [--key value ...]`."""

from alignment.cli.app import main

if __name__ == "__main__":
    main("loop")
