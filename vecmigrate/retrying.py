"""The one rule for retries: only `StoreUnavailable`, a few times, with growing random pauses, then the error itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from vecmigrate.errors import StoreUnavailable

T = TypeVar("T")

ATTEMPTS = 5
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0


def retry_transient(call: Callable[[], T], *, attempts: int = ATTEMPTS) -> T:
    """Call, and again up to `attempts` times in all while it raises `StoreUnavailable`. Everything else is raised at once.

    Pauses are random, up to 0.1, 0.2, 0.4 … seconds and never above 5, so that many clients don't come back at one moment.
    """
    retrying = Retrying(
        retry=retry_if_exception_type(StoreUnavailable),
        stop=stop_after_attempt(attempts),
        wait=wait_random_exponential(multiplier=FIRST_PAUSE, max=LONGEST_PAUSE),
        reraise=True,
    )
    return retrying(call)
