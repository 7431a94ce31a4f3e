"""Train a recipe with several settings: `python scripts/sweep.py --config <recipe> --grid "key=value,value"`."""

from alignment.cli.app import main

if __name__ == "__main__":
    main("sweep")
