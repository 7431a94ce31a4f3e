"""Make on-policy preference pairs: `python scripts/pairs.py --config <recipe> [--key value ...]`."""

from alignment.cli.app import main

if __name__ == "__main__":
    main("pairs")
