"""Fetch, check and tokenise what a recipe reads: `python scripts/download_data.py --config <recipe>`."""

import sys

from alignment.cli import guarded
from alignment.hub.commands import download

if __name__ == "__main__":
    sys.exit(guarded(download))
