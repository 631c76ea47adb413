from __future__ import annotations

from dataclasses import replace

import pytest

from vecmigrate.evaluation import Comparison, GateResult, Outcome, judge_gate
from vecmigrate.evaluation.cautions import cautions, inconclusive, keeps_base
from vecmigrate.evaluation.gate import GateSection
from vecmigrate.evaluation.result import MeasureResult, QueryCounts, SliceResult, Timing
from vecmigrate.evaluation.searching import Served
from vecmigrate.evaluation.wording import counted, headline, left_out, summary, written_p
from vecmigrate.records import Hit

from .evaluation_worlds import figures, side

TIMING = Timing(1, 2, 3)
QUIET = QueryCounts(100, 100, 0, 0, 0, 0, 0, 0)


@pytest.fixture
def quiet(comparison) -> Comparison:
    """A comparison that gives no cause for a warning."""
    seen = tuple(SliceResult(f"{kind} document", "document", figures(n=50)) for kind in ("seen", "unseen"))
    return replace(comparison, queries=QUIET, slices=seen)


def with_main(comparison: Comparison, *args: object, **changes: object) -> Comparison:
    return replace(comparison, measures=(MeasureResult("nDCG@10", figures(*args, **changes), 0.01),))


def test_where_nothing_is_wrong_nothing_is_said(quiet):
    assert cautions(quiet) == ()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"training_verdict": "keep base"}, "training said: keep base. It did not find this model better"),
        ({"candidate": side("docs@v1", fingerprint="docs@v0" * 8)}, "both sides are one model"),
        ({"candidate": side("docs@v1", judged=0.4)}, "label bias: 40% of the candidate's top 10 are judged, 50% of the control's"),
        ({"candidate": side("docs@v1", ann_recall=0.85)}, "docs@v1: its index finds 85.0% of the true top 10"),
        ({"control": side("docs@v0", ann_recall=0.85)}, "docs@v0: its index finds 85.0% of the true top 10"),
        ({"candidate": side("docs@v1", short=7)}, "docs@v1 returned fewer than 10 chunks for 7 queries"),
        ({"candidate": side("docs@v1", encode=Timing(10.1, 11, 50))}, "a query takes 10.1 ms to encode, 5.0 ms before"),
        ({"slices_left_out": 3}, "3 small slices are not shown and not judged"),
        ({"queries": replace(QUIET, unknown=2)}, "2 judgments name queries that were not given"),
        (
            {"queries": QueryCounts(103, 100, 0, 0, 3, 4, 9, 0)},
            "9 judged chunks have gone from the store: 3 queries left out for it, 4 compared",
        ),
    ],
)
def test_each_cause_has_its_one_warning(quiet, changes, said):
    found = cautions(replace(quiet, **changes))
    assert len(found) == 1
    assert said in found[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"candidate": side("docs@v1", judged=0.485)},
        {"candidate": side("docs@v1", judged=0.9)},
        {"candidate": side("docs@v1", ann_recall=0.9)},
        {"candidate": side("docs@v1", ann_recall=None)},
        {"candidate": side("docs@v1", encode=Timing(10.0, 11, 50))},
        {"candidate": side("docs@v1", short=7), "rows": 9},
    ],
)
def test_what_is_within_bounds_is_not_warned_of(quiet, changes):
    assert cautions(replace(quiet, **changes)) == ()


def test_an_underpowered_comparison_says_how_many_queries_it_would_take(quiet):
    found = cautions(with_main(quiet, 0.01, -0.05, 0.07, n=100, detectable=0.08))
    assert [w for w in found if w.startswith("underpowered")] == [
        "underpowered: n=100 shows a difference of 0.080 with 80% probability; one of 0.02 takes about 1,600 queries"
    ]


@pytest.mark.parametrize(
    ("main", "open_"),
    [
        (figures(0.01, -0.05, 0.07, n=100, detectable=0.08), True),
        (figures(0.01, -0.05, 0.07, n=49, detectable=0.01), True),
        (figures(0.001, -0.004, 0.006, n=9000, detectable=0.007), False),
        (figures(0.05, 0.02, 0.08, n=40, detectable=0.08), False),
        (figures(-0.05, -0.08, -0.02, n=40, detectable=0.08), False),
        (figures(0.0, 0.0, 0.0, n=100, detectable=None), False),
        (figures(0.5, None, n=3, losses=0, detectable=0.9), True),
    ],
)
def test_inconclusive_is_an_open_interval_that_more_queries_could_close(quiet, main, open_):
    assert inconclusive(replace(quiet, measures=(MeasureResult("nDCG@10", main, 0.5),))) is open_


def test_few_queries_are_named_with_the_right_word(quiet):
    one = cautions(with_main(quiet, 0.5, None, n=1, losses=0, detectable=None))
    assert "only 1 query: nothing here holds beyond them" in one
    assert any("only 9 queries" in w for w in cautions(with_main(quiet, 0.5, None, n=9, losses=0)))


@pytest.mark.parametrize(
    ("unseen", "warned"), [(figures(0.05, 0.02, 0.08), False), (figures(0.05, -0.01, 0.11), True), (figures(0.05, None), True)]
)
def test_a_gain_must_hold_on_unseen_documents_too(quiet, unseen, warned):
    slices = (quiet.slices[0], SliceResult("unseen document", "document", unseen))
    assert bool(cautions(replace(quiet, slices=slices))) is warned


def test_a_loss_needs_no_word_on_unseen_documents(quiet):
    losing = with_main(quiet, -0.05, -0.08, -0.02)
    slices = (quiet.slices[0], SliceResult("unseen document", "document", figures(-0.05, -0.1, 0.0)))
    assert cautions(replace(losing, slices=slices)) == ()


def test_only_seen_documents_prove_nothing_about_new_ones(quiet):
    assert "every query's answer was in the training data" in cautions(replace(quiet, slices=quiet.slices[:1]))[0]


def test_a_slice_of_the_users_own_is_not_taken_for_training(quiet):
    own = (SliceResult("seen document", "query", figures()),)
    assert cautions(replace(quiet, slices=own)) == ()


@pytest.mark.parametrize(("verdict", "keeps"), [("keep base", True), ("KEEP BASE: 0.6", True), ("tuned", False), ("", False)])
def test_only_keep_base_is_keep_base(verdict, keeps):
    assert keeps_base(verdict) is keeps


# Words.


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Outcome.PASS, "docs@v1 may serve: it is better than docs@v0"),
        (Outcome.FAIL, "docs@v0 stays: docs@v1 does not meet the gate"),
        (Outcome.UNDECIDED, "undecided: no user asked what docs@v1 and docs@v0 were compared on"),
        (Outcome.UNDERPOWERED, "undecided: 100 queries cannot tell docs@v1 from docs@v0"),
    ],
)
def test_each_outcome_has_its_headline(comparison, outcome, said):
    reasons = judge_gate(comparison, GateSection()).reasons
    assert headline(comparison, GateResult(outcome, reasons)) == said


def test_the_summary_says_what_was_done_and_what_came_out(comparison):
    assert summary(comparison) == (
        "Both answered 100 queries from 12,000 chunks through the store's own search. nDCG@10 goes from 0.500 to 0.550 "
        "(+0.050, 95% interval +0.020 to +0.080). 70 queries get better, 10 stay the same, 20 get worse."
    )


def test_wins_and_losses_that_cancel_are_not_called_the_same(comparison):
    assert "70 queries get better" in summary(with_main(comparison, 0.0, -0.02, 0.02))


def test_queries_that_were_left_out_are_accounted_for(comparison):
    assert left_out(replace(comparison, queries=QUIET)) == ""
    assert left_out(replace(comparison, queries=QueryCounts(1200, 100, 0, 1100, 0, 0, 0, 0))) == (
        "Of 1,200 queries given, 1,100 were left out: 1,100 without a relevant chunk."
    )


@pytest.mark.parametrize(("p", "said"), [(1.0, "1.0000"), (0.0001, "0.0001"), (0.00009, "<0.0001"), (0.049, "0.0490")])
def test_a_small_p_is_never_written_as_0(p, said):
    assert written_p(p) == said


def test_one_is_not_many():
    assert (counted(1, "query", "queries"), counted(2, "query", "queries"), counted(0, "query", "queries")) == (
        "1 query",
        "2 queries",
        "0 queries",
    )


# The recall of an index.


def hits(scores: dict[str, float]) -> tuple[Hit, ...]:
    return tuple(Hit(chunk, score) for chunk, score in scores.items())


def recall(served: list[dict[str, float]], exact: list[dict[str, float]]) -> float | None:
    return Served(TIMING, TIMING, tuple(map(hits, served)), tuple(map(hits, exact))).ann_recall()


@pytest.mark.parametrize(
    ("served", "exact", "expected"),
    [
        ([{"a": 0.9, "b": 0.8}], [{"a": 0.9, "b": 0.8}], 1.0),
        ([{"b": 0.8, "a": 0.9}], [{"a": 0.9, "b": 0.8}], 1.0),
        ([{"a": 0.9, "c": 0.7}], [{"a": 0.9, "b": 0.8}], 0.5),
        ([{"a": 0.9, "c": 0.8}], [{"a": 0.9, "b": 0.8}], 1.0),  # c is as good as b
        ([{"a": 0.9}], [{"a": 0.9, "b": 0.8}], 0.5),
        ([{}], [{"a": 0.9, "b": 0.8}], 0.0),
        ([{"a": 0.9}, {"x": 0.1}], [{"a": 0.9}, {"b": 0.8}], 0.5),
        ([{"c": -3.0}], [{"a": -2.0}], 0.0),  # minus a distance
        ([{"a": -2.0}], [{"a": -2.0}], 1.0),
        ([{}], [{}], None),
        ([], [], None),
    ],
)
def test_index_recall_counts_what_exact_search_finds_and_its_equals(served, exact, expected):
    assert recall(served, exact) == expected


def test_without_exact_search_there_is_no_recall():
    assert Served(TIMING, TIMING, (hits({"a": 1.0}),), None).ann_recall() is None
