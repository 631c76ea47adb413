"""What synthetic queries do in a dataset: beside a log they train only; alone they are split, and the report says what that is worth."""

from __future__ import annotations

import pytest

from vecmigrate.config import DatasetSection, SynthesisSection
from vecmigrate.dataset import Split, build_dataset, caution
from vecmigrate.dataset.unasked import join_by_chunk, train_queries
from vecmigrate.querylog import JudgedLog, JudgmentReport
from vecmigrate.records import Judgment, Query
from vecmigrate.synthesis import is_synthetic, local_queries, synthesise
from vecmigrate.synthesis.marking import slice_of

from .synthesis_world import ENCODER, corpus, store_of, word


def log_of(pairs, made=False):
    """A judged log of {query: chunk id}."""
    slices = (slice_of("title"),) if made else ()
    prefix = "s" if made else "q"
    queries = tuple(Query(f"{prefix}{i:03d}", text, slices=slices) for i, text in enumerate(pairs))
    judgments = tuple(Judgment(f"{prefix}{i:03d}", id, 1.0) for i, id in enumerate(pairs.values()))
    return JudgedLog(queries, judgments, JudgmentReport(len(queries), len(queries), len(judgments), len(judgments)))


ASKED = {f"why is {word(i, 0)} {word(i, 4)} {word(i, 5)}": f"c{i:03d}" for i in range(30)}


def made_of(chunks, **settings):
    store, control = store_of(chunks)
    section = SynthesisSection(**settings)
    return synthesise(store, control, ENCODER, section, local_queries(store, section))


@pytest.fixture
def build(tmp_path):
    def run(judged, synthetic=None, chunks=None, folder="datasets", **settings):
        store, control = store_of(chunks or corpus())
        return build_dataset(store, control, ENCODER, judged, DatasetSection(**settings), tmp_path / folder, synthetic=synthetic)

    return run


def ids(dataset, split):
    return [query.id for query in dataset.queries(split)]


def test_beside_a_log_synthetic_queries_train_and_nothing_else(build):
    without, with_them = build(log_of(ASKED)), build(log_of(ASKED), made_of(corpus()))
    for split in (Split.DEV, Split.TEST):
        assert ids(with_them, split) == ids(without, split) != []
        assert with_them.judgments(split) == without.judgments(split)
        assert not any(map(is_synthetic, with_them.queries(split)))
    trained = with_them.queries(Split.TRAIN)
    assert [q.id for q in trained if not is_synthetic(q)] == ids(without, Split.TRAIN)
    made = [q for q in trained if is_synthetic(q)]
    assert len(made) == with_them.counts["synthetic_queries"] > 80
    pairs = {pair.query_id for pair in with_them.training_pairs()}
    assert {q.id for q in made} <= pairs
    assert caution(with_them.queries(Split.TEST)) == ""


def test_a_dataset_without_them_is_what_it_was(build):
    dataset = build(log_of(ASKED))
    assert "synthetic_queries" not in dataset.counts
    assert not any("synthetic" in line for line in dataset.report)
    assert build(log_of(ASKED), log_of({}, made=True), folder="other").hash == dataset.hash


def test_they_change_the_hash_and_the_same_ones_give_the_same(build):
    made = made_of(corpus())
    hashes = [build(log_of(ASKED)).hash, build(log_of(ASKED), made).hash, build(log_of(ASKED), made_of(corpus(), seed=1)).hash]
    assert len(set(hashes)) == 3
    assert build(log_of(ASKED), made_of(corpus()[::-1]), chunks=corpus()[::-1], folder="other").hash == hashes[1]


def test_a_wording_of_a_held_out_query_is_left_out_and_counted(build):
    held_out = [query.text for split in (Split.DEV, Split.TEST) for query in build(log_of(ASKED)).queries(split)]
    words = held_out[0].split()
    leak = {" ".join([*words[::-1]]): "c035", "a question of another kind": "c036"}
    dataset = build(log_of(ASKED), log_of(leak, made=True))
    assert [q.text for q in dataset.queries(Split.TRAIN) if is_synthetic(q)] == ["a question of another kind"]
    assert "added 1 synthetic queries to train; dev and test are users' queries alone" in dataset.report
    assert "  1 left out: a wording of a query in dev or test" in dataset.report


def test_what_users_asked_word_for_word_is_left_to_their_judgments(build):
    dataset = build(log_of(ASKED), log_of({f"{next(iter(ASKED)).upper()} ?": "c035"}, made=True))
    assert "  1 left out: users asked it word for word" in dataset.report
    assert dataset.counts.get("synthetic_queries", 0) == 0


def test_one_like_a_training_query_joins_its_group():
    asked = (Query("q1", "how to open the lid of it", "g-1"), Query("q2", "when do you close", "g-2"))
    made = (
        Query("s1", "lid of it open the to how", slices=("synthetic: title",)),
        Query("s2", "something else", slices=("synthetic: title",)),
    )
    added = train_queries(made, asked, {"q1": Split.TRAIN, "q2": Split.TEST})
    assert [(q.id, q.group == "g-1") for q in added.queries] == [("s1", True), ("s2", False)]


def test_a_query_that_was_left_out_of_the_split_counts_as_held_out():
    asked = (Query("q1", "how to open the lid", "g-1"),)
    made = (Query("s1", "lid open the to how", slices=("synthetic: title",)),)
    assert train_queries(made, asked, {}).queries == ()


def test_chunks_that_are_gone_are_counted(build):
    dataset = build(log_of(ASKED), log_of({"about a chunk that went": "gone"}, made=True))
    assert "left out 1 judgments on chunks that are no longer in the store, and 1 queries with them" in dataset.report


# Alone.


def test_alone_they_are_split_and_the_report_begins_with_what_that_is_worth(build):
    dataset = build(made_of(corpus()))
    total = sum(len(dataset.queries(split)) for split in Split)
    assert total == dataset.counts["synthetic_queries"]
    assert all(len(dataset.queries(split)) > 0 for split in Split)
    assert dataset.report[0] == (
        f"caution: all {total} queries are synthetic: made from the chunks, asked by no user. "
        "Figures on them are an indication only; users' own may come out otherwise"
    )
    assert dataset.report[1].startswith("made 120 synthetic queries from 40 of 40 chunks")


def test_queries_of_one_chunk_never_part(build):
    dataset = build(made_of(corpus()))
    where = {}
    for split in Split:
        for judgment in dataset.judgments(split):
            assert where.setdefault(judgment.chunk_id, split) == split
    assert len(where) == 40


def test_joining_goes_on_over_shared_chunks_and_leaves_users_queries_be():
    queries = [Query(f"s{i}", str(i), f"g{i}", slices=("synthetic: title",)) for i in range(4)] + [Query("q", "x", "g9")]
    judgments = [Judgment("s0", "a", 1.0), Judgment("s1", "a", 1.0), Judgment("s1", "b", 1.0), Judgment("s2", "b", 1.0)]
    judgments += [Judgment("s3", "a", 0.0), Judgment("q", "a", 1.0)]
    joined, lines = join_by_chunk(queries, judgments)
    assert [query.group for query in joined] == ["g0", "g0", "g0", "g3", "g9"]
    assert lines == ["joined them to 3 groups by the chunks that synthetic queries were made from"]


def test_a_log_of_users_is_not_joined_by_chunks():
    queries = [Query("q1", "a", "g1"), Query("q2", "b", "g2")]
    assert join_by_chunk(queries, [Judgment("q1", "a", 1.0), Judgment("q2", "a", 1.0)]) == (tuple(queries), [])


def test_the_caution_counts():
    asked, made = Query("q", "x"), Query("s", "y", slices=("synthetic: title",))
    assert caution([asked]) == ""
    assert caution([asked, made], "test queries").startswith("1 of 2 test queries are synthetic: made from the chunks, asked by no user.")
