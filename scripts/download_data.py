"""Fetch, check and tokenize what a recipe reads: `python scripts/download_data.py --config <recipe>`."""

from alignment.cli.app import main

if __name__ == "__main__":
    main("data")
