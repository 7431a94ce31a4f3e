"""Evaluate a recipe's trained model: `python scripts/evaluate.py --config <recipe> [--suite "..."]`."""

from alignment.cli.app import main

if __name__ == "__main__":
    main("evaluate")
