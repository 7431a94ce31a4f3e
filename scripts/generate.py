"""Ask a recipe's trained model: `python scripts/generate.py --config <recipe> --prompt "..."`."""

from alignment.cli.app import main

if __name__ == "__main__":
    main("generate")
