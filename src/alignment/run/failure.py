"""A net under a run: whatever a library raises is told, and its traceback is kept in a file.

Told is what was being done, the key that most likely caused it, the library's own sentence and where the traceback
is. Until the first step has been taken this is a matter of set-up, which the user can mend; afterwards it is not.
"""

from __future__ import annotations

import os
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alignment.errors import Fault, Preempted, UserError, sentence_of
from alignment.files import write_text
from alignment.recipe.blame import likely_key

LOG = "error.log"
LESS_MEMORY = "it needs less memory with gradient_checkpointing: true, a lower max_length, adapters, or more processes"
_MOST = 600
"""Characters of a library's message that are shown; all of it is in the log."""


class LibraryError(UserError):
    """What a library raised while a run was set up."""


class RunFailed(Exception):
    """A run that ended by an exception after its first step. Its message is all that the terminal needs."""


class Journal:
    """What a run is doing at the moment."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        self.settings = settings
        self.stepped: Callable[[], bool] = lambda: False
        """Whether an optimizer step has been taken."""
        self._doing = "starting"
        self._keys: tuple[str, ...] = ()

    def doing(self, what: str, *keys: str) -> None:
        """Note what comes next ("loading the model"), and the keys that it depends on, the likeliest first."""
        self._doing, self._keys = what, keys

    def tell(self, error: BaseException) -> LibraryError | RunFailed:
        """`error` in the words of this run; its traceback is in the log afterwards."""
        log = write_log(error, self.folder)
        kept = f"the full traceback is in {log}" if log else "its traceback could not be written anywhere"
        key = likely_key(error, self.settings, candidates=self._keys)
        memory = out_of_memory(error)
        if self.stepped():
            cause = f" ({key} may be the cause)" if key and not memory else ""
            remedy = f"{LESS_MEMORY}; {kept}" if memory else kept
            saved = any(self.folder.glob("checkpoint-*"))
            again = ". The same command goes on from the last checkpoint" if saved else ""
            return RunFailed(f"The run failed while {self._doing}{cause}: {sentence(error)}; {remedy}{again}.")
        if key is None or memory:
            remedy = f"{LESS_MEMORY}; {kept}" if memory else kept
            fault = Fault(key=self._doing, rule=f"failed: {sentence(error)}", remedy=remedy)
        else:
            from alignment.recipe.frozen import thaw

            rule = f"is the likely cause of this: {sentence(error)}"
            fault = Fault(key=key, value=thaw(self.settings[key]), rule=rule, remedy=f"correct or remove it; {kept}")
        return LibraryError(fault, where=f"while {self._doing}")


@contextmanager
def told(journal: Journal) -> Iterator[Journal]:
    """Whatever ends the block other than a fault already told is told by `journal`.

    Raises:
        LibraryError: during set-up.
        RunFailed: after the first step.
    """
    try:
        yield journal
    except (UserError, RunFailed, Preempted, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as error:  # native extensions panic with exceptions that are no `Exception`
        raise journal.tell(error) from error


def sentence(error: BaseException) -> str:
    """Kind and message of `error` on one line."""
    kind, said = type(error).__name__, sentence_of(error, limit=_MOST)
    return kind if said == kind else f"{kind}: {said}"


def out_of_memory(error: BaseException) -> bool:
    """Whether a device or the machine had no memory left."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in str(error)
    )


def write_log(error: BaseException, folder: Path) -> Path | None:
    """Write the traceback of `error` whole to this rank's log in `folder`, or where temporary files go."""
    rank = os.environ.get("RANK", "0")
    text = "".join(traceback.format_exception(error)).encode("utf-8", "backslashreplace").decode()
    for place in (folder, Path(tempfile.gettempdir())):
        path = place / (LOG if rank == "0" else f"error-rank{rank}.log")
        try:
            place.mkdir(parents=True, exist_ok=True)
            write_text(path, text)
        except (OSError, ValueError):
            continue
        return path
    return None


def forget_logs(folder: Path) -> None:
    """Remove what an earlier attempt left; a run that goes on is not told about it."""
    for path in (folder / LOG, *folder.glob("error-rank*.log")):
        path.unlink(missing_ok=True)
