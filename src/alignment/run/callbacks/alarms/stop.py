"""The end of a run by an alarm, and the same command given again."""

from __future__ import annotations

import json
from pathlib import Path

from alignment.errors import Fault, UserError
from alignment.output.folder import MANIFEST
from alignment.recipe.guards import AlarmSettings
from alignment.run.callbacks.alarms.watch import Alarms


class StoppedByAlarm(UserError):
    """An alarm whose action is `stop` was raised. A checkpoint and the manifest are written; there is no model."""

    title = "Training stopped"


def stopped(alarms: Alarms, folder: Path) -> StoppedByAlarm:
    """What `alarms.stopped_by` says."""
    alarm = next(alarm for alarm in alarms.raised if alarm["name"] == alarms.stopped_by)
    return _stopped(alarm["name"], alarm["step"], alarm["message"], folder)


def refuse_stopped(folder: Path, settings: AlarmSettings) -> None:
    """Say again that the run in `folder` was stopped, unless the recipe no longer stops at that alarm.

    Raises:
        StoppedByAlarm: as it ended.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    name = manifest.get("stopped_by")
    if name is None or settings.action(name) != "stop":
        return
    alarm = next(alarm for alarm in manifest["alarms"] if alarm["name"] == name)
    raise _stopped(name, alarm["step"], alarm["message"], folder)


def _stopped(name: str, step: int, message: str, folder: Path) -> StoppedByAlarm:
    return StoppedByAlarm(
        Fault(
            key=f"alarms.{name}",
            value="stop",
            rule=f"ended the run at step {step}: {message.rstrip('.')}",
            remedy=f"change the recipe and delete {folder}, or go on from the checkpoint there with alarms: {{{name}: "
            "warn}",
        )
    )
