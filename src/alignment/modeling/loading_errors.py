"""What transformers, safetensors, tokenizers and peft raise while a model is loaded, told in one place.

Told are the folder or id, the file, the library's reason and a remedy. Everything that a user can mend ends here; the
files themselves are looked at first (`alignment.modeling.folder_check`), since some libraries pass over a broken one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alignment.errors import Fault, SetupError, UserError, sentence_of
from alignment.hub.errors import fault_of

REMEDY = (
    "give a folder with a saved model, or a Hub id that this machine can reach or has cached (`make data` downloads it)"
)


@contextmanager
def told(name: str, *, file: str, key: str = "model_name_or_path") -> Iterator[None]:
    """Whatever the block raises is a fault of `file` of the model `name`, or of the way to it.

    Args:
        name: folder or Hub id.
        file: what is being read, such as `config.json`.
        key: the recipe key that named it.

    Raises:
        SetupError: with the library's reason.
    """
    try:
        yield
    except (UserError, KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError):
        raise
    except BaseException as error:  # native extensions panic with exceptions that are no `Exception`
        raise SetupError(_fault(error, name, file=file, key=key)) from error


def _fault(error: BaseException, name: str, *, file: str, key: str) -> Fault:
    local = Path(name).exists()
    transport = fault_of(error, name, key=key) if isinstance(error, Exception) and not local else None
    if transport is not None:
        return transport
    reason = sentence_of(error)
    if not isinstance(error, OSError | ValueError | ImportError) and reason != type(error).__name__:
        reason = f"{type(error).__name__}: {reason}"
    where = str(Path(name) / file) if local else f"{file} of {name}"
    remedy = "correct it, or save or download the model again" if local else REMEDY
    return Fault(key=where, rule=f"cannot be used: {reason}", remedy=remedy)
