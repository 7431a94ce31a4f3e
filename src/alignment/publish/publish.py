"""A finished run to the Hub: verified before, sent in one commit, compared after."""

from __future__ import annotations

from pathlib import Path

from alignment.hub.account import Destination
from alignment.output.finished_run import FinishedRun
from alignment.publish.plan import plan_publication
from alignment.publish.send import Receipt, send
from alignment.publish.verify import verify_folder


def publish(folder: Path, destination: Destination, *, reload: bool = True) -> Receipt:
    """Publish the finished run in `folder`.

    Args:
        folder: `output_dir` of a finished run.
        destination: where it goes.
        reload: load the model and let it answer before anything is sent.

    Raises:
        SetupError: no finished run, not fit to be published, no right to write there, or the Hub cannot take it.
    """
    title = _title(folder)  # fails at once where there is no finished run
    return send(
        destination,
        lambda repository: plan_publication(folder, repository=repository),
        lambda plan: verify_folder(folder, plan, reload=reload),
        title=title,
    )


def _title(folder: Path) -> str:
    manifest = FinishedRun(folder).manifest
    return f"{manifest['name']}: {manifest['model']['base_model']} trained with {manifest['method']}"
