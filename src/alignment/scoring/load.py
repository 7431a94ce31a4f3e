"""From what a user names to a scorer."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from alignment.errors import Fault, SetupError, did_you_mean
from alignment.hub.bundled import is_bundled
from alignment.scoring.scorer import Scorer

_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_ADDRESS = re.compile(r"https?://", re.IGNORECASE)
_GIVEN = ("folder", "name")
"""Arguments of loaders that are no options."""
_WITHOUT_WEIGHTS = ("label", "chat_template", "max_length")
"""Options of a reward model that say what it is, and not where it computes."""


def load_scorer(name: str | Path, *, revision: str = "main", **options: Any) -> Scorer:
    """The scorer that `name` means.

    Args:
        name: a folder or Hub id (a reward model, or ArmoRM, as its configuration says), `package.module:function`, or
            the address of an OpenAI-compatible endpoint (`http://host:8000/v1`), whose model is then a judge.
        revision: branch, tag or commit of a Hub id.
        options: settings of this kind of scorer: see `load_reward_model`, `load_armorm` and `load_judge`.

    Raises:
        SetupError: there is no such scorer, it cannot score, or it has no such option.
    """
    name = str(name)
    if _ADDRESS.match(name):
        from alignment.scoring.judge import load_judge

        return load_judge(name, **_checked(options, load_judge, kind="a judge"))
    if _FUNCTION.fullmatch(name) and not is_bundled(name):
        from alignment.scoring.function import load_function

        return load_function(name, **_checked(options, load_function, kind="a function"))
    return _load_model(name, revision, options)


def check_scorer(name: str, *, revision: str = "main", **options: Any) -> None:
    """Raise what `load_scorer` would raise, as far as it can be told without loading weights.

    Hours of answers must not end with a scorer that was never one.
    """
    if ":" in name and not is_bundled(name):
        load_scorer(name, **options)
        return
    from alignment.scoring.armorm import is_armorm, read_heads
    from alignment.scoring.armorm_scorer import load_armorm
    from alignment.scoring.checkpoint import find_checkpoint, read_config, tensor_files
    from alignment.scoring.reward_model import load_reward_model, without_weights

    folder = find_checkpoint(name, revision=revision)
    config = read_config(folder, name)
    if is_armorm(config):
        _checked(options, load_armorm, kind="ArmoRM")
        read_heads(tensor_files(folder, name), config, name)
        return
    _checked(options, load_reward_model, kind="a reward model")
    without_weights(folder, name, **{key: options[key] for key in _WITHOUT_WEIGHTS if key in options})


def _load_model(name: str, revision: str, options: Mapping[str, Any]) -> Scorer:
    from alignment.scoring.armorm import is_armorm
    from alignment.scoring.armorm_scorer import load_armorm
    from alignment.scoring.checkpoint import find_checkpoint, read_config
    from alignment.scoring.reward_model import load_reward_model

    folder = find_checkpoint(name, revision=revision)
    if is_armorm(read_config(folder, name)):
        return load_armorm(folder, name, **_checked(options, load_armorm, kind="ArmoRM"))
    return load_reward_model(folder, name, **_checked(options, load_reward_model, kind="a reward model"))


def _checked(options: Mapping[str, Any], loader: Callable[..., Scorer], *, kind: str) -> Mapping[str, Any]:
    """`options`, once `loader` is known to have each of them, and to need no other."""
    parameters = inspect.signature(loader).parameters
    known = [option for option in parameters if option not in _GIVEN]
    listed = f"its options are {', '.join(known)}" if known else "it has none"
    faults = [
        Fault(key=option, rule=f"is no option of {kind}", remedy=did_you_mean(option, known) or listed)
        for option in options
        if option not in known
    ]
    faults += [
        Fault(key=option, rule=f"is needed for {kind}")
        for option in known
        if option not in options and parameters[option].default is inspect.Parameter.empty
    ]
    if faults:
        raise SetupError(faults)
    return options
