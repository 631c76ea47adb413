from __future__ import annotations

import math
import random

import ir_measures
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vecmigrate.errors import DataError, UsageError
from vecmigrate.evaluation.measures import Measure, grade, grade_run, overlap, parse_measure, qrels
from vecmigrate.records import Hit, Judgment, Run

WRITTEN = ["nDCG@10", "Recall@100", "P@5", "RR", "RR@10", "AP", "AP@100", "Judged@10", "Success@1", "nDCG(judged_only=True)@10"]


def hits(chunks: str) -> tuple[Hit, ...]:
    return tuple(Hit(chunk, 1.0 - rank / 100) for rank, chunk in enumerate(chunks))


def value(measure: str, returned: str, judged: dict[str, float], depth: int = 10) -> float:
    return float(parse_measure(measure).values(grade([hits(returned)], [judged], depth))[0])


@pytest.mark.parametrize("written", WRITTEN)
def test_a_measure_prints_as_it_is_parsed(written):
    assert str(parse_measure(written)) == written
    assert parse_measure(str(parse_measure(written))) == parse_measure(written)


@pytest.mark.parametrize(
    ("written", "meant"),
    [("MRR@10", "RR@10"), ("mrr", "RR"), ("MAP@100", "AP@100"), ("ndcg@5", "nDCG@5"), ("Precision@3", "P@3"), (" R@50 ", "Recall@50")],
)
def test_other_names_mean_the_same_measure(written, meant):
    assert parse_measure(written) == parse_measure(meant)
    assert str(parse_measure(written)) == meant


@pytest.mark.parametrize(
    "written", ["", "nDCG@", "nDCG@-1", "nDCG@0", "F1@10", "nDCG@10@5", "nDCG@1e3", "P", "nDCG", "Recall", "@10", "nDCG@١٠"]
)
def test_what_is_no_measure_is_refused_with_a_hint(written):
    with pytest.raises(UsageError) as refused:
        parse_measure(written)
    assert refused.value.hint


def test_judged_of_judged_hits_is_refused_as_always_one():
    with pytest.raises(UsageError, match="always 1"):
        parse_measure("Judged(judged_only=True)@10")


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        ("P@5", 2 / 5),
        ("Recall@5", 2 / 3),
        ("RR", 1 / 2),
        ("RR@1", 0.0),
        ("AP", (1 / 2 + 2 / 4) / 3),
        ("AP@2", (1 / 2) / 3),
        ("Success@1", 0.0),
        ("Success@2", 1.0),
        ("Judged@5", 3 / 5),
        ("nDCG@5", (1 / math.log2(3) + 1 / math.log2(5)) / (1 + 1 / math.log2(3) + 1 / math.log2(4))),
        ("nDCG@1", 0.0),
        ("P(judged_only=True)@2", 1 / 2),
        ("RR(judged_only=True)", 1 / 2),
        ("nDCG(judged_only=True)@3", (1 / math.log2(3) + 1 / math.log2(4)) / (1 + 1 / math.log2(3) + 1 / math.log2(4))),
    ],
)
def test_each_measure_on_a_list_that_can_be_checked_by_hand(measure, expected):
    judged = {"b": 1.0, "d": 1.0, "z": 1.0, "a": 0.0}
    assert value(measure, "abcde", judged) == pytest.approx(expected, abs=1e-12)


def test_gain_is_linear_in_the_grade():
    best = 3 + 1 / math.log2(3)
    assert value("nDCG@10", "ab", {"a": 1, "b": 3}) == pytest.approx((1 + 3 / math.log2(3)) / best)
    assert value("nDCG@10", "ba", {"a": 1, "b": 3}) == 1.0


def test_a_negative_grade_is_judged_and_not_relevant():
    assert value("nDCG@10", "ab", {"a": -2, "b": 1}) == pytest.approx(1 / math.log2(3))
    assert value("Judged@2", "ab", {"a": -2}) == 0.5


def test_a_grade_between_0_and_1_is_relevant():
    assert value("Success@1", "a", {"a": 0.25}) == 1.0


def test_a_short_list_is_no_excuse_for_precision_and_is_one_for_judged():
    assert value("P@10", "a", {"a": 1}) == pytest.approx(0.1)
    assert value("Judged@10", "a", {"a": 1}) == 1.0


@pytest.mark.parametrize("measure", WRITTEN)
def test_no_answer_and_nothing_relevant_both_count_as_0(measure):
    depth = 100
    assert value(measure, "", {"a": 1}, depth) == 0.0
    assert value(measure, "bc", {}, depth) == 0.0


def test_a_query_that_the_run_lacks_counts_as_unanswered():
    run = Run("x", {"q1": hits("a")})
    grades = grade_run(run, {"q1": {"a": 1}, "q2": {"b": 1}}, ["q1", "q2", "q3"], depth=10)
    assert parse_measure("nDCG@10").values(grades).tolist() == [1.0, 0.0, 0.0]
    assert grades.returned.tolist() == [1, 0, 0]
    assert grades.relevant.tolist() == [1, 1, 0]


def test_no_queries_give_no_values():
    assert parse_measure("nDCG@10").values(grade([], [], 10)).shape == (0,)


def test_a_cutoff_below_the_search_depth_is_refused_rather_than_cut():
    with pytest.raises(UsageError, match="needs 20 ranks, the search went 10"):
        value("nDCG@20", "a", {"a": 1}, depth=10)


def test_more_relevant_chunks_than_ranks_do_not_lower_a_perfect_list():
    assert value("nDCG@3", "abc", dict.fromkeys("abcdefgh", 1.0), depth=3) == pytest.approx(1.0)
    assert value("Recall@3", "abc", dict.fromkeys("abcdefgh", 1.0), depth=3) == pytest.approx(3 / 8)


def test_a_chunk_that_is_returned_twice_is_an_error():
    with pytest.raises(DataError, match="one chunk twice"):
        grade([hits("aba")], [{"a": 1}], 10)


def test_the_highest_of_several_judgments_counts_and_weight_0_is_no_judgment():
    found = qrels([Judgment("q", "a", 0), Judgment("q", "a", 2), Judgment("q", "a", 1), Judgment("q", "b", 3, weight=0.0)])
    assert found == {"q": {"a": 2}}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_grade_that_is_no_number_is_refused_by_name(bad):
    with pytest.raises(DataError, match="chunk 'c7' for query 'q3'"):
        qrels([Judgment("q3", "c7", bad)])


def test_overlap_counts_what_two_lists_share_in_any_order():
    shared = overlap(["abc", "abc", "", "ab", "abcd"], ["cab", "xyz", "", "abcd", "dabc"], 3)
    assert shared.tolist() == [1.0, 0.0, 1.0, 2 / 3, 2 / 3]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("cutoff", [1, 5, 10, 30])
def test_values_are_those_of_ir_measures(seed, cutoff):
    measures = [
        f"nDCG@{cutoff}",
        f"Recall@{cutoff}",
        f"P@{cutoff}",
        f"AP@{cutoff}",
        f"RR@{cutoff}",
        f"Success@{cutoff}",
        f"Judged@{cutoff}",
        "RR",
        "AP",
    ]
    assert _compared(measures, *_random_case(seed)) == 40 * len(measures)


@pytest.mark.parametrize("seed", range(4))
def test_condensed_values_are_those_of_ir_measures(seed):
    measures = ["nDCG(judged_only=True)@5", "AP(judged_only=True)@10", "P(judged_only=True)@5", "RR(judged_only=True)"]
    assert _compared(measures, *_random_case(seed)) == 40 * len(measures)


def _random_case(seed: int) -> tuple[Run, dict[str, dict[str, float]]]:
    """40 queries over 60 chunks: graded 0 to 3, sparsely judged, lists of 1 to 30 without equal scores, some queries unanswered."""
    draw = random.Random(seed)
    chunks = [f"c{i}" for i in range(60)]
    judged = {f"q{i}": {c: float(draw.choice([0, 0, 1, 2, 3])) for c in draw.sample(chunks, draw.randint(2, 40))} for i in range(40)}
    rows = {}
    for query in judged:
        listed = draw.sample(chunks, draw.randint(1, 30))
        rows[query] = tuple(Hit(c, 100.0 - rank - draw.random() / 2) for rank, c in enumerate(listed))
    for query in draw.sample(sorted(rows), 5):
        del rows[query]
    return Run("random", rows), judged


def _compared(measures: list[str], run: Run, judged: dict[str, dict[str, float]]) -> int:
    """How many values were compared, each of which is that of ir-measures."""
    theirs = ir_measures.iter_calc(
        [ir_measures.parse_measure(m) for m in measures],
        [ir_measures.Qrel(q, c, int(g)) for q, grades in judged.items() for c, g in grades.items()],
        [ir_measures.ScoredDoc(q, h.chunk_id, h.score) for q, row in run.hits.items() for h in row],
    )
    expected = {(str(m.measure), m.query_id): m.value for m in theirs}
    queries = sorted(judged)
    for written in measures:
        ours = parse_measure(written).values(grade_run(run, judged, queries, depth=30))
        for query, found in zip(queries, ours, strict=True):
            answered = query in run.hits
            name = str(ir_measures.parse_measure(written))
            assert found == pytest.approx(expected[name, query] if answered else 0.0, abs=1e-9), (written, query)
    return len(measures) * len(queries)


LISTS = st.lists(st.sampled_from("abcdefghij"), unique=True, max_size=10).map("".join)
GRADES = st.dictionaries(st.sampled_from("abcdefghij"), st.sampled_from([-1.0, 0.0, 0.5, 1.0, 3.0]), max_size=10)
MEASURES = st.builds(
    Measure, st.sampled_from(["nDCG", "Recall", "P", "RR", "AP", "Judged", "Success"]), st.integers(1, 10), st.just(False)
) | st.builds(Measure, st.sampled_from(["nDCG", "Recall", "P", "RR", "AP", "Success"]), st.integers(1, 10), st.just(True))


@given(MEASURES, LISTS, GRADES)
def test_every_value_lies_between_0_and_1(measure, returned, judged):
    assert 0.0 <= value(str(measure), returned, judged) <= 1.0 + 1e-12


@given(st.sampled_from(["Recall", "Success", "RR", "AP"]), st.integers(1, 9), LISTS, GRADES)
def test_a_deeper_cutoff_never_lowers_what_only_adds_up(name, cutoff, returned, judged):
    assert value(f"{name}@{cutoff}", returned, judged) <= value(f"{name}@{cutoff + 1}", returned, judged) + 1e-12


@given(st.sampled_from(["nDCG", "RR", "AP", "P", "Recall", "Success"]), LISTS, GRADES, st.integers(0, 8))
def test_moving_a_better_chunk_up_never_lowers_a_measure(name, returned, judged, place):
    if place + 1 >= len(returned):
        return
    above, below = returned[place], returned[place + 1]
    if max(judged.get(below, 0.0), 0.0) <= max(judged.get(above, 0.0), 0.0):
        return
    swapped = returned[:place] + below + above + returned[place + 2 :]
    assert value(f"{name}@5", swapped, judged) >= value(f"{name}@5", returned, judged) - 1e-12


@given(LISTS, GRADES)
def test_a_fully_judged_list_is_its_own_condensed_list(returned, judged):
    complete = {**dict.fromkeys("abcdefghij", 0.0), **judged}
    assert value("nDCG(judged_only=True)@10", returned, complete) == value("nDCG@10", returned, complete)


def test_ten_thousand_queries_are_measured_at_once():
    rows = [hits("abcdefghij")] * 10_000
    grades = grade(rows, [{"c": 1.0}] * 10_000, 10)
    assert np.allclose(parse_measure("RR").values(grades), 1 / 3)
