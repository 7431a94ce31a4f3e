"""The words of a command: the recipe first or by --config, everything else an override, in either spelling."""

from __future__ import annotations

import subprocess
import sys

import pytest

from alignment.cli.app import main
from alignment.cli.arguments import as_overrides, recipe_and_overrides

OVERRIDES = [
    (["--beta", "2"], ["--beta", "2"]),
    (["beta=2", "--seed", "-1"], ["--beta=2", "--seed", "-1"]),
    (["dataset_mixture.datasets[0].weight=0.5"], ["--dataset_mixture.datasets[0].weight=0.5"]),
    (["--run_name", "a=b", "c=d"], ["--run_name", "a=b", "--c=d"]),
    (["--run_name=a", "b=c"], ["--run_name=a", "--b=c"]),
    (["--packing", "--bf16"], ["--packing", "--bf16"]),
]


@pytest.mark.parametrize(("words", "expected"), OVERRIDES)
def test_assignments_become_options(words: list[str], expected: list[str]) -> None:
    assert as_overrides(words) == expected


def test_the_recipe_comes_first_or_by_option() -> None:
    assert recipe_and_overrides(["quickstart", "--seed", "1"], None) == ("quickstart", ["--seed", "1"])
    assert recipe_and_overrides(["--seed", "1"], "quickstart") == ("quickstart", ["--seed", "1"])


@pytest.mark.parametrize("words", [[], ["--seed", "1", "quickstart"], ["seed=1"]])
def test_a_command_without_a_recipe_says_so(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main("train", words)
    assert end.value.code == 2 and "name a recipe first" in capsys.readouterr().err


def test_the_module_knows_its_commands_and_near_names() -> None:
    command = [sys.executable, "-m", "alignment.cli", "trian"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "Did you mean 'train'?" in done.stderr and "Traceback" not in done.stderr
