"""Conformance rules on states and on which version serves: adopt, advance, activate, history, operation."""

# ruff: noqa: S101, D102 - a test suite asserts, and its names are its documentation

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from vecmigrate.errors import Conflict, NotFound, StalePlan, VecmigrateError, WrongSpace
from vecmigrate.store import Store
from vecmigrate.testing.encoders import HashingEncoder
from vecmigrate.testing.hooks import CANDIDATE, CONTROL, TEXTS, WIDER, Hooks, begin, build, corpus, ids_found, stored
from vecmigrate.versions import TRANSITIONS, IndexVersion, Pointer, State

_CHAIN = (State.PLANNED, State.BACKFILLING, State.INDEXING, State.CATCHING_UP, State.READY)


def bring_to(store: Store, state: State) -> IndexVersion:
    """A fresh version in this state, by allowed steps alone. v0 serves before and, unless the state is ACTIVE, after."""
    version = store.create_version(CANDIDATE.model)
    steps = _CHAIN[1 : _CHAIN.index(state) + 1] if state in _CHAIN else _CHAIN[1:]
    if state in (State.FAILED, State.CANCELLED):
        return store.advance(version, state, actor="t")
    for step in steps:
        version = store.advance(version, step, actor="t")
    if state in _CHAIN:
        return version
    _serve(store, version.number)
    if state is not State.ACTIVE:
        _serve(store, 0)
    version = stored(store, version)
    return store.advance(version, State.RETIRED, actor="t") if state is State.RETIRED else version


def _serve(store: Store, number: int) -> None:
    pointer = store.pointer()
    assert pointer is not None
    store.activate(number, expect_epoch=pointer.epoch, actor="t")


class PointerRules(Hooks):
    """Every state by the table, one pointer, one operator."""

    # States.

    @pytest.mark.parametrize("before", list(State))
    def test_advance_takes_the_steps_of_the_table_and_no_other(self, before: State) -> None:
        store = self.open_adopted(corpus())
        version = bring_to(store, before)
        assert stored(store, version).state is before
        by_advance = TRANSITIONS[before] - {State.ACTIVE} if before is not State.ACTIVE else frozenset()
        for after in State:
            if after in by_advance:
                continue
            with pytest.raises(Conflict):
                store.advance(version, after, actor="t")
            assert stored(store, version).state is before
        for after in sorted(by_advance):
            fresh = bring_to(store, before)
            assert store.advance(fresh, after, actor="t").state is after
            assert stored(store, fresh).state is after

    def test_advance_from_a_state_that_has_passed_is_a_conflict(self) -> None:
        store = self.open_adopted(corpus())
        planned = store.create_version(CANDIDATE.model)
        store.advance(planned, State.BACKFILLING, actor="first")
        with pytest.raises(Conflict):
            self.open_again(store).advance(planned, State.FAILED, actor="second")
        assert stored(store, planned).state is State.BACKFILLING

    def test_of_racing_steps_exactly_one_is_taken(self) -> None:
        store = self.open_adopted(corpus())
        handles = [self.open_again(store) for _ in range(4)]
        for _ in range(5):
            planned = store.create_version(CANDIDATE.model)
            targets = [State.BACKFILLING, State.FAILED, State.CANCELLED, State.BACKFILLING]
            results = _race([_advancing(handle, planned, to) for handle, to in zip(handles, targets, strict=True)])
            winners = [to for to, result in zip(targets, results, strict=True) if not isinstance(result, Conflict)]
            assert winners == [stored(store, planned).state]
            steps = [event for event in store.history() if event.kind == "state" and event.version == planned.number]
            assert len(steps) == 1

    def test_racing_operators_get_versions_of_their_own(self) -> None:
        store = self.open_adopted(corpus())
        results = _race([_creating(self.open_again(store)) for _ in range(4)])
        assert sorted(str(result) for result in results) == ["1", "2", "3", "4"]
        assert [version.number for version in store.versions()] == [0, 1, 2, 3, 4]

    def test_the_audit_names_who_did_each_thing(self) -> None:
        store = self.open(corpus())
        store.adopt(CONTROL.model, actor="ann@host")
        made = store.create_version(CANDIDATE.model, actor="bob@host")
        store.drop(store.advance(made, State.CANCELLED, actor="cy@host"), actor="dee@host")
        assert [(event.kind, event.actor) for event in store.history()] == [
            ("adopt", "ann@host"),
            ("create", "bob@host"),
            ("state", "cy@host"),
            ("drop", "dee@host"),
        ]

    def test_what_is_recorded_stands_in_the_audit_and_changes_nothing_else(self) -> None:
        store = self.open_adopted(corpus())
        version = build(store)
        for removed in (3, 4):
            store.record("sync", version, actor="ann@host", detail={"removed": removed})
        events = [event for event in store.history() if event.kind == "sync"]
        assert [(event.version, event.actor, event.detail["removed"]) for event in events] == [(1, "ann@host", 3), (1, "ann@host", 4)]
        assert stored(store, version).state is State.READY
        assert store.activate(1, expect_epoch=1, actor="op").epoch == 2

    def test_a_note_is_kept_with_the_state(self) -> None:
        store = self.open_adopted(corpus())
        failed = store.advance(begin(store), State.FAILED, actor="t", note="the encoder's process was killed")
        assert (failed.note, stored(store, failed).note) == ("the encoder's process was killed",) * 2
        assert store.advance(failed, State.BACKFILLING, actor="t").state is State.BACKFILLING

    def test_an_unknown_version_is_not_found(self) -> None:
        store = self.open_adopted(corpus())
        with pytest.raises(NotFound):
            store.activate(7, expect_epoch=1, actor="op")

    # Adoption.

    def test_adoption_makes_the_applications_vectors_version_zero_at_epoch_one(self) -> None:
        store = self.open(corpus())
        control = store.adopt(CONTROL.model)
        assert (control.number, control.state, control.model) == (0, State.ACTIVE, CONTROL.model)
        assert store.pointer() == Pointer(store.collection, active=0, previous=None, epoch=1)

    def test_adopting_again_changes_nothing(self) -> None:
        store = self.open_adopted(corpus())
        build(store)
        store.activate(1, expect_epoch=1, actor="op")
        before = (store.pointer(), len(store.history()))
        assert store.adopt(CONTROL.model).state is State.STANDBY
        assert (store.pointer(), len(store.history())) == before

    def test_adopting_under_another_fingerprint_is_a_conflict(self) -> None:
        store = self.open_adopted(corpus())
        with pytest.raises(Conflict):
            store.adopt(CANDIDATE.model)
        assert [version.model for version in store.versions()] == [CONTROL.model]

    def test_adopting_under_another_dimension_is_the_wrong_space(self) -> None:
        store = self.open(corpus())
        with pytest.raises(WrongSpace):
            store.adopt(WIDER.model)
        assert (list(store.versions()), store.pointer()) == ([], None)

    def test_no_version_is_made_before_adoption(self) -> None:
        store = self.open(corpus())
        with pytest.raises(VecmigrateError):
            store.create_version(CANDIDATE.model)
        assert list(store.versions()) == []

    def test_racing_adoptions_make_one_control(self) -> None:
        store = self.open(corpus())
        handles = [self.open_again(store) for _ in range(3)]
        results = _race([_adopting(handle) for handle in handles])
        assert results == [0, 0, 0]
        assert store.pointer() == Pointer(store.collection, 0, None, 1)
        assert [event.epoch for event in store.history() if event.kind == "adopt"] == [1]

    # Activation.

    def test_activation_moves_pointer_states_and_epoch_together(self) -> None:
        store = self.open_adopted(corpus())
        build(store)
        flipped = store.activate(1, expect_epoch=1, actor="op", reason="better")
        assert flipped == Pointer(store.collection, active=1, previous=0, epoch=2)
        assert store.pointer() == flipped
        assert self.open_again(store).pointer() == flipped
        assert [version.state for version in store.versions()] == [State.STANDBY, State.ACTIVE]

    def test_rollback_is_activation_of_the_standby(self) -> None:
        store = self.open_adopted(corpus())
        build(store)
        store.activate(1, expect_epoch=1, actor="op")
        assert store.activate(0, expect_epoch=2, actor="op") == Pointer(store.collection, active=0, previous=1, epoch=3)
        assert [version.state for version in store.versions()] == [State.ACTIVE, State.STANDBY]

    def test_a_plan_of_another_epoch_is_stale(self) -> None:
        store = self.open_adopted(corpus())
        build(store, CANDIDATE)
        build(store, WIDER)
        store.activate(1, expect_epoch=1, actor="op")
        for epoch in (1, 3, 0):
            with pytest.raises(StalePlan):
                store.activate(2, expect_epoch=epoch, actor="late")
        assert store.pointer() == Pointer(store.collection, 1, 0, 2)

    def test_a_version_that_is_not_ready_is_not_activated(self) -> None:
        store = self.open_adopted(corpus())
        for state in (State.PLANNED, State.BACKFILLING, State.INDEXING, State.CATCHING_UP, State.FAILED, State.CANCELLED):
            version = bring_to(store, state)
            with pytest.raises(Conflict):
                store.activate(version.number, expect_epoch=1, actor="op")
        assert store.pointer() == Pointer(store.collection, 0, None, 1)

    def test_activating_again_what_was_committed_does_nothing(self) -> None:
        store = self.open_adopted(corpus())
        build(store)
        flipped = store.activate(1, expect_epoch=1, actor="op")
        events = len(store.history())
        assert store.activate(1, expect_epoch=1, actor="op") == flipped
        assert store.activate(1, expect_epoch=2, actor="op") == flipped
        assert len(store.history()) == events

    def test_a_late_repetition_is_stale_once_the_pointer_has_moved_on(self) -> None:
        store = self.open_adopted(corpus())
        build(store)
        for number, epoch in ((1, 1), (0, 2), (1, 3)):
            store.activate(number, expect_epoch=epoch, actor="op")
        with pytest.raises(StalePlan):
            store.activate(1, expect_epoch=1, actor="op")

    def test_of_racing_operators_exactly_one_wins(self) -> None:
        store = self.open_adopted(corpus())
        build(store, CANDIDATE)
        build(store, WIDER)
        handles = [self.open_again(store) for _ in range(6)]
        results = _race([_activating(handle, 1 + i % 2) for i, handle in enumerate(handles)])
        pointer = store.pointer()
        assert pointer is not None
        assert (pointer.epoch, pointer.previous) == (2, 0)
        losers = [result for i, result in enumerate(results) if 1 + i % 2 != pointer.active]
        assert all(isinstance(loser, StalePlan | Conflict) for loser in losers)
        assert len([event for event in store.history() if event.kind == "activate"]) == 1
        states = {version.number: version.state for version in store.versions()}
        assert states == {0: State.STANDBY, pointer.active: State.ACTIVE, 3 - pointer.active: State.READY}

    def test_readers_under_flips_see_whole_answers_of_one_version(self) -> None:
        store = self.open_adopted(corpus())
        build(store)
        encoders: dict[int, HashingEncoder] = {0: CONTROL, 1: CANDIDATE}
        stop = threading.Event()

        def read() -> int:
            reads = 0
            while not stop.is_set() or not reads:
                pointer = store.pointer()
                assert pointer is not None
                version = store.versions()[pointer.active]
                found = ids_found(store, version, encoders[pointer.active].encode_queries([TEXTS["os.walk"]])[0], 1)
                assert found == ["os.walk"]
                reads += 1
            return reads

        with ThreadPoolExecutor(3) as pool:
            readers = [pool.submit(read) for _ in range(3)]
            try:
                for epoch in range(1, 9):
                    store.activate(epoch % 2, expect_epoch=epoch, actor="op")
            finally:
                stop.set()
            assert all(reader.result() > 0 for reader in readers)

    # History and operations.

    def test_history_tells_what_happened_oldest_first(self) -> None:
        store = self.open_adopted(corpus())
        build(store)
        store.activate(1, expect_epoch=1, actor="ann", reason="nDCG went up")
        store.activate(0, expect_epoch=2, actor="bob", reason="complaints")
        events = list(store.history())
        assert [event.at for event in events] == sorted(event.at for event in events)
        assert all(event.at.tzinfo is not None for event in events)
        flips = [(event.kind, event.version, event.epoch) for event in events if event.kind in ("adopt", "activate")]
        assert flips == [("adopt", 0, 1), ("activate", 1, 2), ("activate", 0, 3)]
        assert [(event.actor, event.detail["reason"]) for event in events if event.kind == "activate"] == [
            ("ann", "nDCG went up"),
            ("bob", "complaints"),
        ]
        steps = [(event.detail["from"], event.detail["to"]) for event in events if event.kind == "state"]
        assert steps == [
            ("planned", "backfilling"),
            ("backfilling", "indexing"),
            ("indexing", "catching_up"),
            ("catching_up", "ready"),
        ]
        assert [event.version for event in events if event.kind == "create"] == [1]

    def test_one_operator_at_a_time_and_the_other_learns_who(self) -> None:
        store = self.open_adopted(corpus())
        other = self.open_again(store)
        with store.operation("cutover", actor="ann"):
            with pytest.raises(Conflict, match="ann"), other.operation("build", actor="bob"):
                pytest.fail("two operators at once")
            assert other.pointer() == store.pointer()
        with other.operation("build", actor="bob"):
            pass

    def test_an_operation_that_failed_is_released(self) -> None:
        store = self.open_adopted(corpus())
        with pytest.raises(KeyError), store.operation("build", actor="ann"):
            raise KeyError("the build broke")
        with self.open_again(store).operation("build", actor="bob"):
            pass

    def test_the_work_of_an_operation_is_done_within_it(self) -> None:
        store = self.open_adopted(corpus())
        with store.operation("build", actor="ann"):
            version = build(store)
            store.activate(1, expect_epoch=1, actor="ann")
        assert stored(store, version).state is State.ACTIVE


def _adopting(store: Store) -> Callable[[], object]:
    return lambda: store.adopt(CONTROL.model).number


def _activating(store: Store, number: int) -> Callable[[], object]:
    return lambda: store.activate(number, expect_epoch=1, actor=f"operator of {number}")


def _advancing(store: Store, version: IndexVersion, to: State) -> Callable[[], object]:
    return lambda: store.advance(version, to, actor="racer")


def _creating(store: Store) -> Callable[[], object]:
    return lambda: store.create_version(CANDIDATE.model).number


def _race(calls: list[Callable[[], object]]) -> list[object]:
    """All at once; what each returned or the `VecmigrateError` that it raised."""
    barrier = threading.Barrier(len(calls))

    def run(call: Callable[[], object]) -> object:
        barrier.wait()
        try:
            return call()
        except VecmigrateError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))
