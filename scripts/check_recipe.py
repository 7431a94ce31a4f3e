"""Check recipes without training: `python scripts/check_recipe.py <recipe> ... [--key value ...]`, or `--all`."""

import sys

from alignment.cli import guarded
from alignment.recipe.summary import check

if __name__ == "__main__":
    sys.exit(guarded(lambda: check(sys.argv[1:])))
