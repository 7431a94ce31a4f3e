"""Check recipes without training: `python scripts/check_recipe.py <recipe> ... [--key value ...]`, or `--all`."""

from alignment.cli.app import main

if __name__ == "__main__":
    main("check")
