"""A finished run to the Hub: where it goes, and what is said when it is there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alignment.errors import Fault, SetupError, UserError
from alignment.recipe.files import recipe_word

if TYPE_CHECKING:
    from alignment.hub.account import Destination
    from alignment.publish.send import Receipt
    from alignment.recipe import Recipe


def destination_of(recipe: Recipe, *, repository: str | None = None) -> Destination:
    """Where a recipe's model goes: its `hub_model_id`, or the name of its output folder in one's own account."""
    from alignment.hub.account import Destination

    training = recipe.training
    return Destination(
        repository=repository or training.get("hub_model_id") or Path(training["output_dir"]).name,
        private=training.get("hub_private_repo"),
        revision=training.get("hub_revision"),
    )


def publish_finished(recipe: Recipe) -> Receipt:
    """What `push_to_hub: true` does when training has ended. Call it on one process, after everything is saved.

    Raises:
        SetupError: it could not be published; says that the model is safe and how to push it later.
    """
    from alignment.output.final_save import plain_loading
    from alignment.publish.publish import publish

    folder = Path(recipe.training["output_dir"])
    later = f"push it later: make push RECIPE={recipe_word(recipe.path)}"
    try:
        wanted = destination_of(recipe)
        with plain_loading():  # under ZeRO-3, making a model to verify the folder would wait for the other ranks
            receipt = publish(folder, wanted)
    except UserError as error:
        safe = Fault(key="the model", rule=f"is finished and safe in {folder}", remedy=later)
        raise SetupError([*error.faults, safe], where="trained, but not published") from error
    except Exception:
        print(f"\nThe model is finished and safe in {folder}; {later}", flush=True)
        raise
    tell(receipt, wanted)
    return receipt


def tell(receipt: Receipt, destination: Destination) -> None:
    """Print what was published, and where."""
    done = "Published" if receipt.sent else "Already published"
    where = f", branch {destination.revision}" if destination.revision else ""
    tagged = f", tag {destination.tag}" if destination.tag else ""
    print(f"\n{done}: {receipt.repository}{where}{tagged}\n{receipt.url}")
    print("Every file was compared with what is on the Hub.")
