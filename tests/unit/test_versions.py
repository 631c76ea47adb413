"""The table of transitions is exactly the one that is drawn, and names parse."""

import pytest

from vecmigrate.versions import (
    GONE,
    SEARCHABLE,
    TRANSITIONS,
    IndexVersion,
    Metric,
    ModelVersion,
    State,
    fingerprint_of,
    may_become,
    parse_version,
)

ALLOWED = {
    "planned": {"backfilling", "failed", "cancelled"},
    "backfilling": {"indexing", "failed", "cancelled"},
    "indexing": {"catching_up", "failed", "cancelled"},
    "catching_up": {"ready", "failed", "cancelled"},
    "ready": {"active", "catching_up", "failed", "cancelled"},
    "active": {"standby"},
    "standby": {"active", "retired", "failed", "cancelled"},
    "failed": {"backfilling", "cancelled"},
    "retired": set(),
    "cancelled": set(),
}


@pytest.mark.parametrize("before", list(State))
@pytest.mark.parametrize("after", list(State))
def test_exactly_the_drawn_transitions_are_allowed(before, after):
    assert may_become(before, after) == (after.value in ALLOWED[before.value])


def test_every_state_has_its_transitions():
    assert set(TRANSITIONS) == set(State)


def test_every_state_is_reached_from_planned_and_nothing_leaves_the_end():
    reached = {State.PLANNED}
    while more := {after for s in reached for after in TRANSITIONS[s]} - reached:
        reached |= more
    assert reached == set(State)
    assert all(not TRANSITIONS[s] for s in GONE)


def test_a_version_that_is_gone_is_not_searchable():
    assert frozenset() == GONE & SEARCHABLE


@pytest.mark.parametrize(("label", "number"), [("v2", 2), ("2", 2), ("docs@v12", 12), ("v0", 0)])
def test_a_version_is_named_by_number_or_label(label, number):
    assert parse_version(label) == number


@pytest.mark.parametrize("label", ["", "v", "v-1", "latest", "v1.5", "v²", "docs@"])
def test_what_is_no_version_is_refused(label):
    with pytest.raises(ValueError, match="is not a version; expected something like v2"):
        parse_version(label)


def test_a_fingerprint_hangs_on_the_values_and_not_on_the_order():
    assert fingerprint_of({"a": 1, "b": "x"}) == fingerprint_of({"b": "x", "a": 1})
    assert fingerprint_of({"a": 1}) != fingerprint_of({"a": 2})
    assert fingerprint_of({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def test_a_model_version_survives_json_and_ignores_what_it_does_not_know():
    model = ModelVersion("m", "f" * 64, "/models/m", 384, 256, "bfloat16", "query: ", "passage: ")
    assert ModelVersion.from_dict(model.to_dict() | {"later": 1}) == model


def test_an_index_version_is_written_collection_at_number():
    version = IndexVersion("docs", 2, ModelVersion("m", "f", "s", 3), Metric.COSINE, State.PLANNED)
    assert (version.name, version.label) == ("docs@v2", "v2")
