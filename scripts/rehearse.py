"""Live through a recipe in small, offline: `python scripts/rehearse.py --config <recipe> [--keep] [--key value]`."""

from alignment.cli.app import main

if __name__ == "__main__":
    main("rehearse")
