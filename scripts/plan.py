"""Plan a recipe before it runs: `python scripts/plan.py --config <recipe> [--gpu h100-80] [--nproc 8] [--json]`."""

from alignment.cli.app import main

if __name__ == "__main__":
    main("plan")
