"""The worker threads: each on one core, sharing nothing, leaving torch's own setting alone."""

from __future__ import annotations

import os
import threading
import time

import pytest
import torch

from vecmigrate.encoding import workers
from vecmigrate.encoding.workers import Workers, available_cores, shared_workers


def test_a_workers_kernels_run_on_one_thread_and_everyone_elses_as_before() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        pool = Workers(2)
        seen: list[int] = []
        pool.each(lambda _: seen.append(torch.get_num_threads()), range(8))
        assert set(seen) == {1}
        assert torch.get_num_threads() == 3
        later: list[int] = []
        thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        assert later == [3]
    finally:
        torch.set_num_threads(before)


def test_batches_run_side_by_side() -> None:
    together = threading.Barrier(2, timeout=20)
    places: list[int] = []
    Workers(2).each(lambda _: places.append(together.wait()), range(2))
    assert sorted(places) == [0, 1]


def test_the_first_failure_is_raised_and_the_rest_is_not_begun() -> None:
    begun: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        if item == 1:
            raise ValueError("batch 1")
        time.sleep(0.02)

    with pytest.raises(ValueError, match="batch 1"):
        Workers(1).each(work, range(50))
    assert len(begun) < 10


def test_a_pool_works_on_after_a_failure() -> None:
    pool, done = Workers(1), []
    with pytest.raises(ZeroDivisionError):
        pool.each(lambda item: 1 // item and None, [0])
    pool.each(done.append, [1, 2])
    assert done == [1, 2]


def test_models_share_one_pool() -> None:
    assert shared_workers(2) is shared_workers(2)


def test_a_forked_child_starts_threads_of_its_own() -> None:
    shared_workers(1).each(lambda _: None, [0])
    child = os.fork()
    if child == 0:
        done: list[int] = []
        shared_workers(1).each(done.append, [7])
        os._exit(0 if done == [7] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_containers_quota_bounds_the_cores(tmp_path, monkeypatch) -> None:
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(workers, "_QUOTA", quota)
    every = available_cores()
    assert every >= 1
    quota.write_text("100000 100000\n")
    assert available_cores() == 1
    quota.write_text("50000 100000\n")
    assert available_cores() == 1
    quota.write_text("max 100000\n")
    assert available_cores() == every
