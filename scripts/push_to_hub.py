"""Publish a finished run: `python scripts/push_to_hub.py --config <recipe> [--hub_model_id me/model] [--dry_run]`."""

from alignment.cli.app import main

if __name__ == "__main__":
    main("push")
