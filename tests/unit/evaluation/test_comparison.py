from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest

from vecmigrate.errors import DataError, ModelError, StoreError, UsageError, VersionRetired
from vecmigrate.evaluation import CompareRequest, Comparison, compare
from vecmigrate.evaluation.comparison import MOST_SLICES
from vecmigrate.records import Chunk, Judgment, Query
from vecmigrate.store import Capability, Probe
from vecmigrate.testing.encoders import FixedEncoders, HashingEncoder
from vecmigrate.testing.memory import MemoryStore, SourceRow
from vecmigrate.versions import State

from .evaluation_worlds import letters

THREE = {"q1": ("abc", "bac", "b"), "q2": ("abc", "abc", "a"), "q3": ("cab", "bac", "c")}


def test_both_sides_are_measured_on_the_same_queries():
    found = letters(THREE).compare()
    reciprocal = {v.measure: v.figures for v in found.measures}["RR"]
    assert reciprocal.control == pytest.approx((1 / 2 + 1 + 1) / 3)
    assert reciprocal.candidate == pytest.approx((1 + 1 + 1 / 3) / 3)
    assert (reciprocal.wins, reciprocal.ties, reciprocal.losses) == (1, 1, 1)
    assert [v.measure for v in found.measures] == ["nDCG@3", "Recall@3", "RR"]
    assert found.main.measure == "nDCG@3"


def test_the_result_names_what_was_compared():
    world = letters(THREE, dataset_hash="d" * 64, training_verdict="better than the base")
    found = world.compare()
    assert (found.control.version, found.candidate.version) == ("docs@v0", "docs@v1")
    assert found.control.fingerprint == world.control.model.fingerprint
    assert found.candidate.fingerprint == world.candidate.model.fingerprint
    assert (found.collection, found.epoch, found.rows, found.dataset_hash) == ("docs", 1, 6, "d" * 64)
    assert found.training_verdict == "better than the base"
    assert [v.query_id for v in found.per_query] == ["q1", "q2", "q3"]


def test_the_same_request_gives_the_same_figures():
    first, second = (letters(THREE).compare() for _ in range(2))
    assert (first.measures, first.slices, first.per_query, first.wins) == (second.measures, second.slices, second.per_query, second.wins)


def test_one_query_is_compared_without_an_interval():
    found = letters({"q1": ("ab", "ba", "b")}).compare()
    assert found.main.figures.n == 1
    assert found.main.figures.interval is None
    assert any("only 1 query" in warning for warning in found.warnings)


def test_two_equal_sides_tie_everywhere():
    found = letters({f"q{i}": ("abc", "abc", "b") for i in range(60)}).compare()
    figures = found.main.figures
    assert (figures.ties, figures.difference, figures.p_value) == (60, 0.0, 1.0)
    assert (found.wins, found.losses, found.overlap) == ((), (), 1.0)


def test_overlap_is_what_both_top_lists_share():
    assert letters({"q1": ("abcd", "abef", "a"), "q2": ("abc", "def", "a")}).compare().overlap == pytest.approx((2 / 3 + 0) / 2)


def test_unjudged_hits_are_reported_for_each_side():
    world = letters({"q1": ("abc", "def", "a")})
    world.request = replace(world.request, judgments=[Judgment("q1", "a", 1), Judgment("q1", "b", 0), Judgment("q1", "d", 0)])
    found = world.compare()
    assert found.control.judged == pytest.approx(2 / 3)
    assert found.candidate.judged == pytest.approx(1 / 3)
    assert any(warning.startswith("label bias") for warning in found.warnings)


def test_without_unjudged_hits_a_new_ranker_is_not_punished_for_what_nobody_saw():
    found = letters({f"q{i}": ("abc", "dea", "a") for i in range(12)}).compare()
    assert found.main.figures.difference == pytest.approx(-0.5)
    assert found.condensed.measure == "nDCG(judged_only=True)@3"
    assert found.condensed.figures.difference == 0.0


# Which queries count.


def test_queries_that_can_tell_nothing_are_left_out_and_counted():
    world = letters({**THREE, "nobody": ("abc", "abc", "")})
    queries = [*world.request.queries, Query("blank", " \n")]
    judgments = [*world.request.judgments, Judgment("nobody", "a", 0), Judgment("blank", "a", 1), Judgment("ghost", "a", 1)]
    counts = world.compare(queries=queries, judgments=judgments).queries
    assert (counts.given, counts.compared, counts.blank, counts.without_relevant, counts.unknown) == (5, 3, 1, 1, 1)


def test_judged_chunks_that_have_gone_are_counted_and_not_held_against_anyone():
    world = letters({"q1": ("abc", "bac", "ab"), "q2": ("abc", "bac", "c")})
    world.store.delete("b")
    world.store.delete("c")
    found = world.compare(measures=("Recall@3",))
    assert (found.queries.lost_relevant, found.queries.with_missing, found.queries.missing_chunks) == (1, 1, 2)
    assert [v.query_id for v in found.per_query] == ["q1"]
    assert found.main.figures.control == 1.0
    assert any("2 judged chunks have gone" in w for w in found.warnings)


@pytest.mark.parametrize("judgments", [[], [Judgment("q1", "a", 0)], [Judgment("q1", "zz", 1)], [Judgment("q9", "a", 1)]])
def test_nothing_to_compare_on_is_an_error_that_says_why(judgments):
    with pytest.raises(DataError, match="nothing to compare on: of 3 queries"):
        letters(THREE).compare(judgments=judgments)


def test_no_queries_at_all_is_an_error():
    with pytest.raises(DataError, match="of 0 queries"):
        letters(THREE).compare(queries=[])


def test_two_queries_of_one_id_are_refused():
    world = letters(THREE)
    with pytest.raises(DataError, match="'q1'"):
        world.compare(queries=[*world.request.queries, Query("q1", "text of q2")])


# Slices.


def test_slices_come_from_the_queries_and_from_what_training_saw():
    world = letters(THREE, slices={"q1": ("short", "rare"), "q2": ("short", "short")})
    found = world.compare(trained_chunks=frozenset("a"))
    sizes = {(part.kind, part.name): part.figures.n for part in found.slices}
    assert sizes == {("document", "seen document"): 1, ("document", "unseen document"): 2, ("query", "short"): 2, ("query", "rare"): 1}
    unseen = next(part.figures for part in found.slices if part.name == "unseen document")
    assert (unseen.wins, unseen.losses) == (1, 1)


def test_without_training_there_is_no_seen_and_unseen():
    assert letters(THREE).compare().slices == ()


def test_a_query_is_seen_when_any_of_its_relevant_chunks_was():
    found = letters({"q1": ("abc", "abc", "ab")}).compare(trained_chunks=frozenset("b"))
    assert [part.name for part in found.slices] == ["seen document"]
    assert any("every query's answer was in the training data" in w for w in found.warnings)


def test_a_gain_on_seen_documents_alone_is_warned_of():
    seen = {f"s{i}": ("abc", "bac", "b") for i in range(12)}
    unseen = {f"u{i}": ("abc", "abc", "c") for i in range(12)}
    found = letters({**seen, **unseen}).compare(trained_chunks=frozenset("b"))
    assert any("not shown on documents that training has not seen" in w for w in found.warnings)


def test_more_slices_than_can_be_shown_are_counted():
    names = {"q1": tuple(f"s{i}" for i in range(MOST_SLICES + 5))}
    found = letters(THREE, slices=names).compare()
    assert (len(found.slices), found.slices_left_out) == (MOST_SLICES, 5)
    assert any("5 small slices" in w for w in found.warnings)


# Examples.


def test_the_biggest_changes_come_first_with_both_answers():
    found = letters({"q1": ("abc", "bac", "b"), "q2": ("abc", "cab", "c"), "q3": ("abc", "abc", "a"), "q4": ("dab", "abd", "d")}).compare()
    assert [e.query_id for e in found.wins] == ["q2", "q1"]
    assert [e.query_id for e in found.losses] == ["q4"]
    win = found.wins[0]
    assert win.text == "text of q2"
    assert [hit.chunk_id for hit in win.control] == ["a", "b", "c"]
    assert [hit.chunk_id for hit in win.candidate] == ["c", "a", "b"]
    assert [(hit.text, hit.grade) for hit in win.candidate] == [("chunk c", 1.0), ("chunk a", None), ("chunk b", None)]
    assert [(w.chunk.chunk_id, w.control_rank, w.candidate_rank) for w in win.wanted] == [("c", 3, 1)]


def test_a_wanted_chunk_that_was_not_found_has_no_rank():
    found = letters({"q1": ("abc", "dab", "d")}).compare()
    assert [(w.control_rank, w.candidate_rank) for w in found.wins[0].wanted] == [(None, 1)]


def test_at_most_five_wins_are_shown():
    assert len(letters({f"q{i}": ("abc", "bac", "b") for i in range(9)}).compare().wins) == 5


def test_texts_stay_out_when_they_are_not_to_be_shown():
    found = letters({"q1": ("abc", "bac", "b")}).compare(show_texts=False)
    assert "text of" not in str(found.to_dict())
    assert "chunk b" not in str(found.to_dict())
    assert found.wins[0].candidate[0].chunk_id == "b"


def test_a_long_text_is_cut():
    world = letters({"q1": ("abc", "bac", "b")})
    vector = world.store.vectors(world.control, ["b"])["b"]
    world.store.put(Chunk("b", "x" * 5000), vector)
    assert world.compare().wins[0].candidate[0].text == "x" * 399 + "…"


# Latency, index, exactness.


def test_both_sides_are_timed_one_query_at_a_time():
    found = letters(THREE).compare()
    for side in (found.control, found.candidate):
        assert side.search.n == side.encode.n == 3
        assert 0 < side.search.p50 <= side.search.p95
        assert 0 < side.encode.p50 <= side.encode.p95


class Recording(MemoryStore):
    """A memory store that writes down what it was asked."""

    asked: list[tuple[int, int, int, bool]]

    def search(self, version, queries, k, *, where=None, exact=False):
        self.asked.append((version.number, len(queries), k, exact))
        return super().search(version, queries, k, where=where, exact=exact)


def test_the_two_sides_take_turns_in_random_order_after_warming_up():
    world = letters({f"q{i}": ("abc", "bac", "b") for i in range(40)})
    world.store.__class__ = Recording
    world.store.asked = []
    world.compare()
    singles = [number for number, n, k, exact in world.store.asked if n == 1 and k == 3 and not exact]
    assert len(singles) == 2 * (5 + 40)
    pairs = [tuple(singles[i : i + 2]) for i in range(10, 90, 2)]
    assert set(pairs) == {(0, 1), (1, 0)}


def test_the_search_goes_as_deep_as_the_deepest_measure():
    world = letters(THREE)
    world.store.__class__ = Recording
    for measures, depth in ((("nDCG@3",), 3), (("nDCG@3", "Recall@5"), 5), (("RR",), 100)):
        world.store.asked = []
        assert world.compare(measures=measures).depth == depth
        assert (0, 3, depth, False) in world.store.asked


class Forgetful(MemoryStore):
    """An approximate index on v1 that never finds chunk b."""

    def search(self, version, queries, k, *, where=None, exact=False):
        rows = super().search(version, queries, k + 1, where=where, exact=exact)
        if version.number == 1 and not exact:
            rows = [tuple(hit for hit in row if hit.chunk_id != "b") for row in rows]
        return [row[:k] for row in rows]


def test_a_bad_index_is_told_from_a_bad_model():
    world = letters({f"q{i}": ("abc", "bac", "b") for i in range(12)})
    world.store.__class__ = Forgetful
    found = world.compare()
    assert found.control.ann_recall == 1.0
    assert found.candidate.ann_recall == pytest.approx(2 / 3)
    assert found.exact.served.difference < 0 < found.exact.exact.difference
    assert found.main.figures.difference < 0
    assert any("its index finds 66.7% of the true top 3" in w for w in found.warnings)


def test_equals_at_the_edge_do_not_count_against_an_index():
    class OtherTies(MemoryStore):
        def search(self, version, queries, k, *, where=None, exact=False):
            rows = super().search(version, queries, 6, where=where, exact=exact)
            return [tuple(sorted(row, key=lambda h: (-h.score, h.chunk_id if exact else -ord(h.chunk_id))))[:k] for row in rows]

    world = letters({"q1": ("ab", "ab", "a")})
    world.store.__class__ = OtherTies
    assert world.compare().candidate.ann_recall == 1.0


def test_a_store_without_exact_search_leaves_the_recall_open():
    class Approximate(MemoryStore):
        def can(self, capability):
            return Probe(False, "no") if capability is Capability.EXACT_SEARCH else super().can(capability)

    world = letters(THREE)
    world.store.__class__ = Approximate
    found = world.compare()
    assert (found.control.ann_recall, found.exact) == (None, None)


def test_rows_that_are_missing_from_an_answer_are_counted():
    class Short(MemoryStore):
        def search(self, version, queries, k, *, where=None, exact=False):
            rows = super().search(version, queries, k, where=where, exact=exact)
            return [row[:2] for row in rows] if version.number == 1 else rows

    world = letters(THREE)
    world.store.__class__ = Short
    found = world.compare()
    assert (found.candidate.short, found.candidate.returned, found.control.short) == (3, 2.0, 0)
    assert any("returned fewer than 3 chunks for 3 queries" in w for w in found.warnings)


# What can go wrong.


def test_a_failing_candidate_fails_the_comparison():
    class Broken(MemoryStore):
        def search(self, version, queries, k, *, where=None, exact=False):
            if version.number == 1:
                raise StoreError("the index is corrupt", hint="rebuild it")
            return super().search(version, queries, k, where=where, exact=exact)

    world = letters(THREE)
    world.store.__class__ = Broken
    with pytest.raises(StoreError, match="corrupt"):
        world.compare()


def test_missing_answers_fail_the_comparison():
    class Lossy(MemoryStore):
        def search(self, version, queries, k, *, where=None, exact=False):
            return super().search(version, queries, k, where=where, exact=exact)[:-1]

    world = letters(THREE)
    world.store.__class__ = Lossy
    with pytest.raises(DataError, match="answers to"):
        world.compare()


def test_a_version_that_is_not_built_is_refused():
    world = letters(THREE)
    world.candidate = world.store.create_version(HashingEncoder(12, "other").model)
    with pytest.raises(UsageError, match="docs@v2 is planned"):
        world.compare()


def test_a_version_that_was_cancelled_meanwhile_raises():
    world = letters(THREE)
    world.store.drop(world.store.advance(world.candidate, State.CANCELLED, actor="test"))
    with pytest.raises(VersionRetired):
        world.compare()


def test_a_version_of_another_collection_is_refused():
    world = letters(THREE)
    world.candidate = replace(world.candidate, collection="faq")
    with pytest.raises(UsageError, match="faq@v1 is not of collection docs"):
        world.compare()


def test_an_encoder_of_another_model_is_never_used():
    world = letters(THREE)
    old = world.request.encoders.encoder_for(world.control)

    class Careless:
        def encoder_for(self, version):
            return old

    with pytest.raises(ModelError, match="docs@v1 is another model"):
        world.compare(encoders=Careless())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"measures": ()}, "at least one measure"),
        ({"measures": ("Judged@10",)}, "says nothing of quality"),
        ({"measures": ("Recall@101",)}, "needs 101 hits"),
        ({"measures": ("nonsense",)}, "unknown"),
        ({"k": 0}, "k = 0"),
        ({"k": 101}, "k = 101"),
        ({"confidence": 1.0}, "confidence of 1.0"),
        ({"confidence": 0.0}, "confidence of 0.0"),
        ({"resamples": 10}, "10 resamples"),
    ],
)
def test_settings_that_make_no_sense_are_refused_before_anything_is_asked(changes, message):
    with pytest.raises(UsageError, match=message) as refused:
        letters(THREE).compare(**changes)
    assert refused.value.hint


def test_a_measure_named_twice_is_reported_once():
    found = letters(THREE).compare(measures=("nDCG@3", "ndcg@3", "MRR", "RR"))
    assert [v.measure for v in found.measures] == ["nDCG@3", "RR"]


def test_a_pointer_that_moves_meanwhile_is_said():
    world = letters(THREE)

    def flip(stage: str, done: int, total: int) -> None:
        if stage == "reading examples":
            world.store.activate(1, expect_epoch=1, actor="another")

    found = world.compare(progress=flip)
    assert found.epoch == 1
    assert any("pointer moved" in w for w in found.warnings)


def test_a_version_against_itself_shows_no_difference_and_says_so():
    world = letters(THREE)
    world.candidate = world.control
    found = world.compare()
    assert found.main.figures.ties == 3
    assert any("both sides are one model" in w for w in found.warnings)


def test_keep_base_is_the_first_warning():
    found = letters(THREE).compare(training_verdict="Keep base: dev nDCG@10 0.61 against 0.62")
    assert found.warnings[0].startswith("training said: Keep base: dev")


def test_progress_reaches_the_end_of_each_stage():
    seen: dict[str, tuple[int, int]] = {}
    letters(THREE).compare(progress=lambda stage, done, total: seen.update({stage: (done, total)}))
    assert {"looking up judged chunks", "searching v0", "searching v1", "timing", "reading examples"} == set(seen)
    assert all(done == total for done, total in seen.values())


@pytest.fixture(scope="module")
def hashed() -> Comparison:
    """300 chunks, 120 queries of three words; 8 dimensions against 64."""
    draw = random.Random(0)
    old, new = HashingEncoder(8, "old"), HashingEncoder(64, "new")
    chunks = [Chunk(f"c{i}", " ".join(f"w{draw.randrange(300)}" for _ in range(10))) for i in range(300)]
    vectors = old.encode_documents([c.text for c in chunks])
    store = MemoryStore([SourceRow(c.id, c.text, v) for c, v in zip(chunks, vectors, strict=True)], dimension=8)
    control = store.adopt(old.model)
    candidate = store.advance(store.create_version(new.model), State.BACKFILLING, actor="t")
    for batch in store.pending(candidate):
        store.load(candidate, batch, new.encode_documents([c.text for c in batch]))
    for state in (State.INDEXING, State.CATCHING_UP, State.READY):
        candidate = store.advance(candidate, state, actor="t")
    wanted = [draw.choice(chunks) for _ in range(120)]
    queries = [Query(f"q{i}", " ".join(draw.sample(c.text.split(), 3))) for i, c in enumerate(wanted)]
    judgments = [Judgment(f"q{i}", c.id, 1.0) for i, c in enumerate(wanted)]
    return compare(store, control, candidate, CompareRequest(queries, judgments, FixedEncoders.of(old, new), resamples=999))


def test_a_better_encoder_is_found_better_end_to_end(hashed):
    assert hashed.main.figures.interval.low > 0.2
    assert hashed.main.p_adjusted < 0.01
    assert hashed.exact.exact.difference == pytest.approx(hashed.exact.served.difference)


def test_per_query_values_average_to_the_measure(hashed):
    assert np.mean([v.candidate for v in hashed.per_query]) == pytest.approx(hashed.main.figures.candidate)
    assert np.mean([v.control for v in hashed.per_query]) == pytest.approx(hashed.main.figures.control)
