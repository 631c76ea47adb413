"""The one rule for retries: only `StoreUnavailable`, a few times, with growing jittered pauses, then the error itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from vecmigrate.errors import StoreUnavailable

T = TypeVar("T")

ATTEMPTS = 5
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0


def retry_transient(call: Callable[[], T], *, attempts: int = ATTEMPTS) -> T:
    """Call, and again up to `attempts` times in all while it raises `StoreUnavailable`. Everything else is raised at once.

    Pauses are in seconds: about 0.1, 0.2, 0.4 … at most 5, each with jitter.
    """
    retrying = Retrying(
        retry=retry_if_exception_type(StoreUnavailable),
        stop=stop_after_attempt(attempts),
        wait=wait_exponential_jitter(initial=FIRST_PAUSE, max=LONGEST_PAUSE, jitter=FIRST_PAUSE),
        reraise=True,
    )
    return retrying(call)
