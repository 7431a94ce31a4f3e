"""`alignment schema`: the keys of recipes as a JSON schema, by which editors complete and check them."""

from __future__ import annotations

import json


def schema() -> None:
    """Print the JSON schema of recipes. `recipes/schema.json` is its output; the first line of a recipe names it."""
    from alignment.recipe.json_schema import recipe_schema

    print(json.dumps(recipe_schema(), indent=1, ensure_ascii=False))
