"""Records on disk: whole lines count, and what a full disk or a kill left of one is made again."""

from __future__ import annotations

import resource

import pytest

from alignment.errors import SetupError
from alignment.pairs.records import Records
from alignment.pairs.workers import Worker, own_devices


def add(folder, *ids: str, rank: int = 0) -> None:
    with Records(folder).adding(Worker(rank=rank, world=2)) as added:
        for id in ids:
            added.add({"id": id, "text": f"naïve {id}"})


def test_records_are_found_by_id_whichever_worker_wrote_them(tmp_path):
    records = Records(tmp_path)
    add(tmp_path, "a", "b")
    add(tmp_path, "c", "a", rank=1)
    assert len(records) == 0
    records.refresh()
    assert len(records) == 3 and "c" in records and "d" not in records
    assert records["b"] == {"id": "b", "text": "naïve b"}


def test_a_full_disk_is_told_and_what_was_added_stays(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(SetupError, match="what is there is kept"):
            add(tmp_path, *(f"id{at}" for at in range(20)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    path = tmp_path / "part-00000.jsonl"
    kept = len(Records(tmp_path))
    assert path.stat().st_size == 100 and 0 < kept < 20
    add(tmp_path, "more")
    assert len(Records(tmp_path)) == kept + 1 == len(path.read_text().splitlines())


def test_a_damaged_line_is_named(tmp_path):
    add(tmp_path, "a")
    with (tmp_path / "part-00000.jsonl").open("a") as file:
        file.write("{broken\n")
    with pytest.raises(SetupError, match="is damaged at byte"):
        Records(tmp_path)


def test_every_worker_of_a_machine_has_its_own_gpus():
    assert own_devices([], local_rank=1, gpus=1) == {}
    assert own_devices(["0", "1", "2", "3"], local_rank=1, gpus=2)["CUDA_VISIBLE_DEVICES"] == "2,3"
    assert own_devices(["GPU-a", "GPU-b"], local_rank=1, gpus=1)["CUDA_VISIBLE_DEVICES"] == "GPU-b"
    with pytest.raises(SetupError, match="lower NPROC"):
        own_devices(["0", "1"], local_rank=2, gpus=1)
