"""Publish preference pairs: `python scripts/push_data.py --config <recipe> [--hub_dataset_id me/pairs] [--dry_run]`."""

from alignment.cli.app import main

if __name__ == "__main__":
    main("push-data")
