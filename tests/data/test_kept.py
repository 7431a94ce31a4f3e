"""What is made once: by one process while others wait, whole or not at all, whatever was killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

import pytest

from alignment.data.disk_cache import keep


def write(folder, *, slowly=0.0):
    (folder / "rows").write_text(str(os.getpid()))
    time.sleep(slowly)
    return {"made by": os.getpid()}


def keep_and_tell(folder, answers):
    kept = keep(folder, lambda fresh: write(fresh, slowly=0.5))
    answers.put((kept.facts["made by"], kept.found))


def start(target, *arguments):
    process = multiprocessing.get_context("fork").Process(target=target, args=arguments)
    process.start()
    return process


def wait_for(condition):
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_of_many_processes_one_makes_it_and_the_others_wait_for_it(tmp_path):
    answers = multiprocessing.get_context("fork").Queue()
    processes = [start(keep_and_tell, tmp_path / "entry", answers) for _ in range(4)]
    found = [answers.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert len({maker for maker, _ in found}) == 1
    assert sorted(there for _, there in found) == [False, True, True, True]


def test_the_scratch_folder_of_a_killed_process_is_removed_at_the_next_start(tmp_path):
    def stuck(fresh):
        write(fresh)
        time.sleep(600)

    killed, alive = (start(keep, tmp_path / name, stuck) for name in ("killed", "alive"))
    wait_for(lambda: len(list(tmp_path.glob(".writing-*/fresh/rows"))) == 2)
    os.kill(killed.pid, signal.SIGKILL)
    killed.join()
    keep(tmp_path / "another", write)
    left = [path.name for path in tmp_path.iterdir() if path.name.startswith(".writing-")]
    alive.kill()
    alive.join()
    assert left == [".writing-alive"]
    assert keep(tmp_path / "killed", write).found is False


def test_a_maker_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError):
        keep(tmp_path / "entry", lambda fresh: write(fresh) and (_ for _ in ()).throw(RuntimeError))
    assert [path.name for path in tmp_path.iterdir()] == [".locks"]
