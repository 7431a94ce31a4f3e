"""Turn a foreign recipe into ours: `python scripts/convert_recipe.py FILE [--output OUT.yaml]`."""

from alignment.cli.app import main

if __name__ == "__main__":
    main("convert")
