"""Only a store that does not answer is asked again, and only so often."""

import pytest

from vecmigrate import retrying
from vecmigrate.errors import Conflict, StoreUnavailable


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(retrying, "FIRST_PAUSE", 0.001)


def calls_that(*outcomes):
    left = list(outcomes)

    def call():
        outcome = left.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return call, left


def test_an_answer_after_two_failures_is_the_answer():
    call, left = calls_that(StoreUnavailable("away"), StoreUnavailable("away"), "here")
    assert (retrying.retry_transient(call), left) == ("here", [])


def test_it_gives_up_with_the_error_itself():
    call, left = calls_that(*[StoreUnavailable(f"away {i}") for i in range(6)])
    with pytest.raises(StoreUnavailable, match="away 4"):
        retrying.retry_transient(call)
    assert len(left) == 1


def test_any_other_error_is_raised_at_once():
    call, left = calls_that(Conflict("held by another"), "never reached")
    with pytest.raises(Conflict):
        retrying.retry_transient(call)
    assert left == ["never reached"]
