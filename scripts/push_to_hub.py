"""Publish a finished run: `python scripts/push_to_hub.py --config <recipe> [--hub_model_id me/model] [--dry_run]`."""

import sys

from alignment.cli import guarded
from alignment.hub.commands import push

if __name__ == "__main__":
    sys.exit(guarded(push))
