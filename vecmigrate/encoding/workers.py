"""Threads that run one batch each on one core: measured to beat one batch on all cores, which waits at every kernel's end.

two cores, busy machine, fp32 (encode = 1.0):   one batch on two threads 0.8–1.4     two batches on a thread each 1.5–2.9
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import torch

T = TypeVar("T")

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def available_cores() -> int:
    """Cores that this process may use: its affinity, or a container's quota where that is less."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _QUOTA.read_text(encoding="ascii").split()
        return max(1, min(cores, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no control group, or "max"
        return cores


class Workers:
    """A pool of threads whose kernels do not split further. Callers of several threads share it."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="vecmigrate-encode")
        self._start()

    def _start(self) -> None:
        """Start every thread now: `torch.set_num_threads` in a thread also sets what *later* threads begin with, so it is put back."""
        before = torch.get_num_threads()
        together = threading.Barrier(self.count)

        def begin() -> None:
            torch.set_num_threads(1)
            torch.get_num_threads()  # the thread takes the setting over at its first use of it, which must be before it is put back
            together.wait()

        for started in [self._threads.submit(begin) for _ in range(self.count)]:
            started.result()
        torch.set_num_threads(before)

    def each(self, work: Callable[[T], None], items: Iterable[T]) -> None:
        """Do the work for every item. The first exception cancels what has not begun, and is raised."""
        futures = [self._threads.submit(work, item) for item in items]
        try:
            for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                future.result()
        finally:
            for future in futures:
                future.cancel()
            wait(futures)


@lru_cache(maxsize=8)
def shared_workers(count: int) -> Workers:
    """The process's one pool of this many threads: several models together use no more cores than one."""
    return Workers(count)


if hasattr(os, "register_at_fork"):  # a forked child has the pool but not its threads
    os.register_at_fork(after_in_child=shared_workers.cache_clear)
