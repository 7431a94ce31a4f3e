"""Settings whose packages are missing are named before anything is loaded."""

from __future__ import annotations

import pytest
from transformers.training_args import OptimizerNames

from alignment.errors import SetupError
from alignment.run import packages
from alignment.run.packages import check_packages


def test_every_missing_package_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setattr(
        packages, "NEEDED_BY", [(key, needs, "surely_absent", name) for key, needs, _, name in packages.NEEDED_BY]
    )
    with pytest.raises(SetupError) as caught:
        check_packages({"use_liger_kernel": True, "load_in_4bit": False, "optim": "paged_adamw_8bit", "beta": 2.0})
    first, second = caught.value.faults
    assert (first.key, second.key) == ("use_liger_kernel", "optim")
    assert str(second) == (
        "optim paged_adamw_8bit needs the package surely_absent, which is not installed; "
        '`.venv/bin/pip install "bitsandbytes>=0.46"`, or choose another value.'
    )


def test_what_is_installed_or_not_asked_for_is_no_fault(monkeypatch):
    monkeypatch.setattr(
        packages, "NEEDED_BY", [("use_liger_kernel", bool, "json", ""), ("optim", "x".__eq__, "no", "")]
    )
    check_packages({"use_liger_kernel": True, "optim": "adamw_torch"})


@pytest.mark.parametrize(
    ("optimizer", "modules"),
    [
        ("adamw_torch", set()),
        ("adamw_torch_fused", set()),
        ("adamw_torch_8bit", {"torchao"}),
        ("adamw_8bit", {"bitsandbytes"}),
        ("adamw_bnb_8bit", {"bitsandbytes"}),
        ("lion_32bit", {"bitsandbytes"}),
        ("rmsprop_bnb", {"bitsandbytes"}),
        ("rmsprop", set()),
        ("galore_adamw_8bit", {"galore_torch"}),
        ("schedule_free_adamw", {"schedulefree"}),
        ("lomo", {"lomo_optim"}),
    ],
)
def test_which_package_an_optimizer_comes_from(optimizer, modules):
    assert {module for key, needs, module, _ in packages.NEEDED_BY if key == "optim" and needs(optimizer)} == modules


def test_every_optimizer_of_transformers_is_built_in_or_has_its_package():
    built_in = (
        "adamw_torch adamw_torch_fused adamw_torch_npu_fused adamw_torch_xla adafactor sgd adagrad rmsprop".split()
    )
    for optimizer in OptimizerNames:
        named = [module for key, needs, module, _ in packages.NEEDED_BY if key == "optim" and needs(optimizer.value)]
        assert len(named) == (optimizer.value not in built_in), optimizer


@pytest.fixture
def nobody(monkeypatch, tmp_path):
    """No key of any tracker anywhere."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for account in packages.ACCOUNTS.values():
        monkeypatch.delenv(account.key, raising=False)
        monkeypatch.delenv(account.mode, raising=False)
    return tmp_path


def test_a_tracker_that_is_not_installed_is_named():
    with pytest.raises(SetupError, match="report_to azure_ml needs the package azureml, which is not installed"):
        check_packages({"report_to": ("tensorboard", "azure_ml")})


@pytest.mark.parametrize("trackers", ["wandb", ("tensorboard", "wandb"), "all"])
def test_a_tracker_without_a_key_is_named(nobody, trackers):
    with pytest.raises(SetupError, match="report_to wandb has no key on this machine; set WANDB_API_KEY, run `wandb l"):
        check_packages({"report_to": trackers})


@pytest.mark.parametrize("way", ["key", "mode", "netrc", "settings"])
def test_a_key_is_found_wherever_it_is(nobody, monkeypatch, way):
    if way == "key":
        monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    elif way == "mode":
        monkeypatch.setenv("WANDB_MODE", "offline")
    elif way == "netrc":
        (nobody / ".netrc").write_text("machine api.wandb.ai login user password secret\n")
        (nobody / ".netrc").chmod(0o600)
    else:
        (nobody / ".config/wandb").mkdir(parents=True)
        (nobody / ".config/wandb/settings").touch()
    check_packages({"report_to": "wandb"})


def test_every_tracker_of_transformers_has_its_package():
    from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

    for tracker in INTEGRATION_TO_CALLBACK.keys() - {"kubeflow"}:
        assert [key for key, needs, *_ in packages.NEEDED_BY if key == "report_to" and needs(tracker)], tracker
