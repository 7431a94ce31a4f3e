"""Live through a recipe in small, offline: `python scripts/rehearse.py --config <recipe> [--keep] [--key value]`."""

import argparse
import os
import sys

os.environ["HF_HUB_OFFLINE"] = "1"  # read when the Hub's client is imported; a rehearsal takes what is here

from alignment.cli import guarded


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--config", required=True, metavar="RECIPE", help="recipe name or path of a YAML file")
    parser.add_argument("--keep", action="store_true", help="keep model, rows, logs and output")
    arguments, overrides = parser.parse_known_args()

    from alignment.rehearsal.story import rehearse

    return rehearse(arguments.config, overrides, keep=arguments.keep)


if __name__ == "__main__":
    sys.exit(guarded(main))
