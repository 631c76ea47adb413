"""Commands are absolute: run again after they committed, they change nothing."""

import pytest

from vecmigrate.cutover import cancel, flip, retire, rollback_target
from vecmigrate.errors import Conflict, PreflightRefused, StalePlan, VersionRetired
from vecmigrate.reindex import build
from vecmigrate.testing.encoders import HashingEncoder
from vecmigrate.testing.memory import MemoryStore, SourceRow
from vecmigrate.versions import State

OLD, NEW = HashingEncoder(16, "old"), HashingEncoder(16, "new")


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore([SourceRow("a", "the cat", OLD.encode_documents(["the cat"])[0])], dimension=16)
    store.adopt(OLD.model)
    build(store, store.create_version(NEW.model), NEW, actor="me")
    return store


def version(store: MemoryStore, number: int):
    return next(v for v in store.versions() if v.number == number)


def test_a_flip_moves_the_pointer_and_keeps_the_version_before(store):
    done = flip(store, 1, expect_epoch=1, actor="me", reason="cutover")
    assert (done.changed, done.after.active, done.after.previous, done.after.epoch) == (True, 1, 0, 2)
    assert (version(store, 0).state, version(store, 1).state) == (State.STANDBY, State.ACTIVE)
    assert done.seconds < 1


def test_a_flip_run_again_changes_nothing(store):
    flip(store, 1, expect_epoch=1, actor="me", reason="cutover")
    again = flip(store, 1, expect_epoch=1, actor="me", reason="cutover")
    assert (again.changed, again.after.epoch) == (False, 2)


def test_a_flip_planned_before_another_operators_is_stale(store):
    flip(store, 1, expect_epoch=1, actor="me", reason="cutover")
    flip(store, 0, expect_epoch=2, actor="other", reason="rollback")
    with pytest.raises(StalePlan):
        flip(store, 1, expect_epoch=1, actor="me", reason="cutover")
    assert store.pointer().active == 0


def test_an_unfinished_version_cannot_serve(store):
    store.create_version(HashingEncoder(16, "third").model)
    with pytest.raises(Conflict):
        flip(store, 2, expect_epoch=1, actor="me", reason="cutover")
    assert store.pointer().epoch == 1


def test_without_a_cutover_there_is_nothing_to_roll_back(store):
    with pytest.raises(PreflightRefused, match="docs was never cut over"):
        rollback_target(store)


def test_without_a_pointer_there_is_nothing_to_flip():
    with pytest.raises(PreflightRefused, match="has no versions yet"):
        flip(MemoryStore(dimension=16), 1, expect_epoch=1, actor="me", reason="cutover")


def test_a_rollback_goes_to_what_served_before_and_a_second_one_nowhere(store):
    flip(store, 1, expect_epoch=1, actor="me", reason="cutover")
    assert rollback_target(store) == 0
    flip(store, 0, expect_epoch=2, actor="me", reason="rollback: bad at night")
    assert rollback_target(store) is None


def test_a_cutover_after_a_rollback_can_be_rolled_back_again(store):
    flip(store, 1, expect_epoch=1, actor="me", reason="cutover")
    flip(store, 0, expect_epoch=2, actor="me", reason="rollback")
    flip(store, 1, expect_epoch=3, actor="me", reason="cutover")
    assert rollback_target(store) == 0


def test_a_standby_is_retired_for_good_and_retiring_it_again_is_harmless(store):
    flip(store, 1, expect_epoch=1, actor="me", reason="cutover")
    flip(store, 0, expect_epoch=2, actor="me", reason="rollback")
    assert retire(store, version(store, 1), actor="me").state is State.RETIRED
    assert retire(store, version(store, 1), actor="me").state is State.RETIRED
    with pytest.raises(VersionRetired):
        store.search(version(store, 1), NEW.encode_queries(["cat"]), 1)
    with pytest.raises((Conflict, StalePlan)):
        flip(store, 1, expect_epoch=3, actor="me", reason="cutover")


def test_the_active_version_is_not_retired(store):
    flip(store, 1, expect_epoch=1, actor="me", reason="cutover")
    with pytest.raises(PreflightRefused, match="docs@v1 is active; only a standby version is retired"):
        retire(store, version(store, 1), actor="me")


def test_the_applications_own_index_is_neither_retired_nor_dropped(store):
    flip(store, 1, expect_epoch=1, actor="me", reason="cutover")
    for destroy in (retire, cancel):
        with pytest.raises(PreflightRefused, match="vecmigrate never removes it"):
            destroy(store, version(store, 0), actor="me")
    assert len(store.search(version(store, 0), OLD.encode_queries(["cat"]), 1)[0]) == 1


def test_a_version_that_never_served_is_dropped_not_retired(store):
    with pytest.raises(PreflightRefused, match="docs@v1 is ready; only a standby version is retired"):
        retire(store, version(store, 1), actor="me")
    assert cancel(store, version(store, 1), actor="me").state is State.CANCELLED
    assert cancel(store, version(store, 1), actor="me").state is State.CANCELLED


def test_a_version_that_served_is_retired_not_dropped(store):
    flip(store, 1, expect_epoch=1, actor="me", reason="cutover")
    flip(store, 0, expect_epoch=2, actor="me", reason="rollback")
    with pytest.raises(PreflightRefused, match="docs@v1 is standby; only a version that never served is dropped"):
        cancel(store, version(store, 1), actor="me")
