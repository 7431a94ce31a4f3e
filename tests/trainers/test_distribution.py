"""A checkpoint that this run's processes cannot read is refused with the words that continue it."""

from __future__ import annotations

import pytest
from accelerate.utils import DeepSpeedPlugin
from transformers import TrainingArguments

from alignment.errors import SetupError
from alignment.trainers.sharding import check_resumable, sharding_of

ZERO = [f"global_step4/bf16_zero_pp_rank_{rank}_mp_rank_00_optim_states.pt" for rank in range(2)]
FSDP = ["optimizer_0/__0_0.distcp", "rng_state_0.pth", "rng_state_1.pth"]
DDP = ["optimizer.pt", "rng_state_0.pth", "rng_state_1.pth"]


@pytest.fixture
def checkpoint(tmp_path):
    def write(files):
        for name in files:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        return tmp_path

    return write


def alone() -> TrainingArguments:
    return TrainingArguments(use_cpu=True, report_to="none")


def sharded() -> TrainingArguments:
    args = alone()
    args.deepspeed_plugin = DeepSpeedPlugin(zero_stage=3)
    return args


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (ZERO, "DeepSpeed ZeRO on 2 processes"),
        (FSDP, "FSDP on 2 processes"),
        (DDP, "unsharded (one process or DDP) on 2 processes"),
        (["optimizer.pt", "rng_state.pth"], "unsharded (one process or DDP) on 1 process"),
    ],
)
def test_what_wrote_a_checkpoint_is_told_by_its_files(checkpoint, files, told):
    assert str(sharding_of(checkpoint(files))) == told


@pytest.mark.parametrize(
    ("files", "args", "words"),
    [
        (ZERO, alone, "NPROC=2 ACCELERATE=zero3_cpu"),
        (ZERO, sharded, "NPROC=2 ACCELERATE=zero3_cpu"),
        (FSDP, alone, "NPROC=2 ACCELERATE=fsdp2"),
        (DDP, sharded, "NPROC=2 ACCELERATE=ddp"),
    ],
    ids=["ZeRO-3 to one process", "ZeRO-3 to another number", "FSDP to one process", "DDP to ZeRO-3"],
)
def test_a_refusal_names_processes_and_configuration(checkpoint, files, args, words):
    with pytest.raises(SetupError) as refused:
        check_resumable(checkpoint(files), args())
    assert f"({words}), choose another --output_dir" in str(refused.value)


def test_unsharded_checkpoints_go_on_anywhere_unsharded(checkpoint):
    check_resumable(checkpoint(DDP), alone())
