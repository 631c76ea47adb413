"""From a store to a judged log that says of itself that nobody asked it."""

from __future__ import annotations

import pytest

from vecmigrate.config import SynthesisSection
from vecmigrate.errors import DataError
from vecmigrate.querylog.judgments import JudgedLog
from vecmigrate.querylog.wording import normalised
from vecmigrate.records import Chunk, Judgment, Query
from vecmigrate.synthesis import SynthesisReport, endpoint_queries, is_synthetic, local_queries, synthesise
from vecmigrate.synthesis.candidates import Candidate, Generated
from vecmigrate.synthesis.marking import synthetic_id_of

from .synthesis_world import ENCODER, corpus, store_of, word


def locally(chunks=None, **settings):
    store, control = store_of(chunks or corpus())
    section = SynthesisSection(**settings)
    return synthesise(store, control, ENCODER, section, local_queries(store, section))


def given(*candidates, **settings):
    """As if a generator had made these."""
    store, control = store_of(corpus())
    return synthesise(store, control, ENCODER, SynthesisSection(**settings), lambda drawn: Generated(candidates, ("by hand",)))


RIGHT = Candidate(f"{word(3, 1)} with {word(3, 2)}", ("c003",), "endpoint")
WRONG = Candidate(f"{word(9, 1)} with {word(9, 2)}", ("c003",), "endpoint")


def test_a_query_is_judged_on_its_chunk_and_marked():
    log = given(RIGHT, weight=0.25)
    id = synthetic_id_of(normalised(RIGHT.text))
    assert id.startswith("s-")
    assert log.queries == (Query(id, RIGHT.text, slices=("synthetic: endpoint", "3-5 words")),)
    assert log.judgments == (Judgment(id, "c003", 1.0, 0.25),)
    assert isinstance(log, JudgedLog)


def test_every_local_query_is_marked_with_its_kind():
    log = locally()
    assert all(map(is_synthetic, log.queries))
    assert {query.slices[0] for query in log.queries} == {"synthetic: title", "synthetic: keywords", "synthetic: sentence"}
    assert not is_synthetic(Query("q", "asked", slices=("asked once",)))


def test_queries_and_judgments_are_sorted_and_belong_together():
    log = locally()
    assert [q.id for q in log.queries] == sorted(q.id for q in log.queries)
    assert {j.query_id for j in log.judgments} == {q.id for q in log.queries}
    assert len(log.judgments) == 120
    assert {j.weight for j in log.judgments} == {0.5}


def test_the_same_seed_and_chunks_give_the_same_log():
    assert locally() == locally(corpus()[::-1])
    assert locally().queries != locally(seed=1).queries


def test_the_report_counts_every_candidate_and_calls_none_a_users():
    log = given(RIGHT, WRONG, Candidate("lid", ("c001",), "endpoint"))
    assert isinstance(log.report, SynthesisReport)
    assert log.report.lines() == [
        "made 3 synthetic queries from 40 of 40 chunks: 1 kept (1 endpoint); nobody asked them",
        "  by hand",
        "  1 synthetic queries left out: shorter than 2 words",
        "  1 synthetic queries left out: the control does not find the chunk that it was made from among its best 4",
    ]
    assert not any("user" in line or "search" in line for line in log.report.lines())


def test_where_most_fail_the_round_trip_a_warning_says_so():
    log = given(RIGHT, WRONG, Candidate(WRONG.text + " too", ("c004",), "endpoint"))
    assert log.report.warnings == ("2 of 3 did not pass the round trip: read some of them, and the prompt",)


def test_chunks_that_are_not_to_be_had_are_in_the_report():
    log = locally([*corpus(), Chunk("short", "too short")])
    assert log.report.set_aside == {"shorter than 40 characters": 1}


def test_a_store_without_a_usable_chunk_is_refused():
    with pytest.raises(DataError, match="none of the 1 chunks of docs is long enough to make a query of"):
        locally([Chunk("short", "too short")])


def test_the_endpoints_queries_go_the_same_way(server, settings, tmp_path):
    store, control = store_of(corpus())
    section = settings(max_chunks=15)
    log = synthesise(store, control, ENCODER, section, endpoint_queries(section, tmp_path, lambda plan: None))
    assert len(server.asked) == 15
    assert {query.slices[0] for query in log.queries} == {"synthetic: endpoint"}
    assert log.report.lines()[0] == "made 30 synthetic queries from 15 of 40 chunks: 30 kept (30 endpoint); nobody asked them"
    again = synthesise(store, control, ENCODER, section, endpoint_queries(section, tmp_path, lambda plan: None))
    assert (again.queries, again.judgments, len(server.asked)) == (log.queries, log.judgments, 15)
