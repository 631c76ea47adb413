"""Cutover, rollback and the end of a version that shares another's vectors: nothing is lost, and nothing goes that is still searched."""

import pytest

from vecmigrate.cutover import Evidence, Order, cancel, catch_up, doubts_about_going_back, make_plan, move, preflight, retire
from vecmigrate.cutover.publishing import require_serving
from vecmigrate.errors import PreflightRefused
from vecmigrate.records import Chunk
from vecmigrate.reindex import build, verify
from vecmigrate.testing.encoders import FixedEncoders, HashingEncoder, TranslatingEncoder
from vecmigrate.testing.memory import MemoryStore, SourceRow
from vecmigrate.versions import State

BASE, NEW = HashingEncoder(32, "old"), HashingEncoder(32, "new")
TUNED, OVER_NEW = TranslatingEncoder(BASE, {"moggy": "cat"}), TranslatingEncoder(NEW, {"moggy": "cat"})
ENCODERS = FixedEncoders.of(BASE, NEW, TUNED, OVER_NEW)
TEXTS = {f"r{i}": f"the text number {i} of animal {i % 3}" for i in range(20)}


@pytest.fixture
def store():
    """v0 serves; v1 is another model's; v2 shares v0's vectors, v3 shares v1's. All are ready."""
    store = MemoryStore([SourceRow(i, t, BASE.encode_documents([t])[0]) for i, t in TEXTS.items()], dimension=32)
    store.adopt(BASE.model)
    for encoder, shares in ((NEW, ""), (TUNED, "v0"), (OVER_NEW, "v1")):
        build(store, store.create_version(encoder.model, shares=shares), encoder, actor="me")
    return store


def version(store, number):
    return next(v for v in store.versions() if v.number == number)


def go(store, number, reason="cutover"):
    return move(store, ENCODERS, Order(version(store, number), store.pointer().epoch, "me", reason))


def complete(store, target, active):
    found = verify(store, version(store, target), ENCODERS.encoder_for(version(store, target)))
    return preflight(version(store, target), version(store, active), found, Evidence()).checks[1]


def steps(store, number):
    target = version(store, number)
    plan = make_plan(store, target, store.pointer(), preflight(target, version(store, 0), verify(store, target, None), Evidence()))
    return plan.steps[0]


def test_forth_to_shared_vectors_and_back_loses_nothing(store):
    for target in (2, 3, 0):
        done = go(store, target)
        assert (done.flip.after.active, done.missing, done.stale, done.warning) == (target, 0, 0, "")


def test_a_move_brings_in_what_was_written_into_the_vectors_that_are_shared(store):
    store.put(Chunk("late", "written late"), BASE.encode_documents(["written late"])[0])
    assert store.differences(version(store, 3)).missing == ("late",)
    assert go(store, 3).missing == 0
    assert store.differences(version(store, 1)).clean


def test_catching_up_a_version_that_shares_the_applications_vectors_needs_no_encoder(store):
    store.put(Chunk("bare", "without a vector"), None)
    catch_up(store, version(store, 2), FixedEncoders({}))
    assert store.differences(version(store, 2)).missing == ("bare",)


def test_rows_that_the_applications_vectors_lack_are_lost_by_no_move_among_those_that_search_them(store):
    store.put(Chunk("bare", "without a vector"), None)
    same = complete(store, 2, active=0)
    assert (same.ok, same.seen) == (True, "20 of 21 rows, 20 sampled vectors equal")
    go(store, 1)
    other = complete(store, 2, active=1)
    assert not other.ok
    assert other.seen == "1 rows of the source are missing, such as 'bare'"
    assert "have the application fill its own vectors" in other.hint


def test_a_few_vectors_of_an_older_text_are_no_reason_against_and_many_are(store):
    texts = list(TEXTS)
    store.put(Chunk(texts[0], "edited since"), BASE.encode_documents([TEXTS[texts[0]]])[0])
    assert complete(store, 2, active=0).ok
    for id in texts[:8]:
        store.put(Chunk(id, "edited since"), BASE.encode_documents([TEXTS[id]])[0])
    assert "8 of 20 sampled vectors were not made by model" in complete(store, 2, active=0).seen


def test_going_back_to_shared_vectors_is_as_certain_as_to_the_applications(store):
    go(store, 2)
    go(store, 1)
    store.put(Chunk("r0", "edited since"), BASE.encode_documents([TEXTS["r0"]])[0])
    assert doubts_about_going_back(store, version(store, 2), ENCODERS) == ()
    store.put(Chunk("bare", "without a vector"), None)
    assert doubts_about_going_back(store, version(store, 2), ENCODERS) == ("1 rows of the source are missing, such as 'bare'",)


def test_between_two_versions_that_search_the_applications_vectors_a_hole_in_them_is_no_doubt(store):
    store.put(Chunk("bare", "without a vector"), None)
    go(store, 2)
    assert doubts_about_going_back(store, version(store, 0), ENCODERS) == ()
    go(store, 1)
    for number in (0, 2):
        assert doubts_about_going_back(store, version(store, number), ENCODERS) == ("1 rows of the source are missing, such as 'bare'",)


def test_a_hole_is_cautioned_of_where_going_back_would_meet_it(store):
    store.put(Chunk("bare", "without a vector"), None)

    def cautions(number):
        target = version(store, number)
        return [
            c
            for c in make_plan(store, target, store.pointer(), preflight(target, target, verify(store, target, None), Evidence())).cautions
            if "lacks" in c
        ]

    assert cautions(2) == []
    assert cautions(1) == ["docs@v0 lacks 1 rows that have no vector there: going back to it will need --accept-missing"]
    go(store, 2)
    assert cautions(3) == ["docs@v2 lacks 1 rows that have no vector there: going back to it will need --accept-missing"]
    assert cautions(0) == []


def test_the_plan_says_that_nothing_is_re_embedded(store):
    assert steps(store, 2) == "verify docs@v2, which shares the vectors of docs@v0: nothing is re-embedded"
    assert steps(store, 3) == (
        "bring docs@v1 up to date with the source, then verify docs@v3, which shares the vectors of docs@v1: nothing is re-embedded"
    )
    assert steps(store, 1) == "bring docs@v1 up to date with the source, then verify it"


def test_what_is_shared_is_not_destroyed_before_what_shares_it(store):
    with pytest.raises(PreflightRefused, match=r"its vectors are shared by docs@v3 \(ready\)"):
        cancel(store, version(store, 1), actor="me")
    go(store, 1)
    go(store, 3)
    with pytest.raises(PreflightRefused, match=r"its vectors are shared by docs@v3 \(active\)"):
        retire(store, version(store, 1), actor="me")
    go(store, 0)
    assert retire(store, version(store, 3), actor="me").state is State.RETIRED
    assert store.differences(version(store, 1)).clean
    assert retire(store, version(store, 1), actor="me").state is State.RETIRED


def test_giving_up_a_version_that_shares_leaves_the_vectors_and_what_serves(store):
    assert cancel(store, version(store, 2), actor="me").state is State.CANCELLED
    assert cancel(store, version(store, 3), actor="me").state is State.CANCELLED
    assert [store.differences(version(store, n)).clean for n in (0, 1)] == [True, True]


def test_a_version_that_shares_is_not_published_under_the_applications_name(store):
    go(store, 2)
    with pytest.raises(PreflightRefused, match="what sets it apart is how queries are encoded"):
        require_serving(version(store, 2))
