from __future__ import annotations

import json
from dataclasses import replace

import pytest

from vecmigrate.config import GateSection
from vecmigrate.errors import UsageError
from vecmigrate.evaluation import Comparison, GateResult, Outcome, judge_gate
from vecmigrate.evaluation.result import MeasureResult, SliceResult, Timing

from .evaluation_worlds import figures, side

GATE = GateSection()


def with_main(comparison: Comparison, *args: object, **changes: object) -> Comparison:
    return replace(comparison, measures=(MeasureResult("nDCG@10", figures(*args, **changes), 0.01),))


def with_slice(comparison: Comparison, *args: object, **changes: object) -> Comparison:
    return replace(comparison, slices=(SliceResult("long", "query", figures(*args, **changes)),))


def made(comparison: Comparison, *counts: int, name: str = "synthetic: kind") -> Comparison:
    """The same, with so many of its queries in each of these slices."""
    slices = tuple(SliceResult(f"{name} {i}", "query", figures(n=n)) for i, n in enumerate(counts))
    return replace(comparison, slices=(SliceResult("3-5 words", "query", figures(n=200)), *slices))


def failed(result: GateResult) -> list[str]:
    return [check.kind for check in result.failures]


def test_a_clear_gain_passes(comparison):
    result = judge_gate(comparison, GATE)
    assert (result.outcome, result.passed, result.failures) == (Outcome.PASS, True, ())
    assert [check.kind for check in result.reasons] == ["difference", "queries", "worse", "slice", "slice", "latency", "recall"]


def test_an_interval_that_touches_the_bar_does_not_pass(comparison):
    assert failed(judge_gate(with_main(comparison, 0.03, 0.0, 0.06), GATE)) == ["difference"]


def test_a_loss_fails_however_few_the_queries(comparison):
    result = judge_gate(with_main(comparison, -0.2, -0.3, -0.1, n=20, losses=5), GATE)
    assert (result.outcome, failed(result)) == (Outcome.FAIL, ["difference", "queries"])


def test_an_open_interval_over_few_queries_is_underpowered_and_not_passed(comparison):
    result = judge_gate(with_main(comparison, 0.03, -0.06, 0.12, n=37, losses=5, detectable=0.14), GATE)
    assert (result.outcome, result.passed) == (Outcome.UNDERPOWERED, False)


def test_an_open_interval_over_many_queries_with_wide_scatter_is_underpowered(comparison):
    assert judge_gate(with_main(comparison, 0.01, -0.02, 0.04, n=400, detectable=0.05), GATE).outcome is Outcome.UNDERPOWERED


def test_an_open_interval_where_a_worthwhile_difference_would_have_shown_fails(comparison):
    assert judge_gate(with_main(comparison, 0.001, -0.004, 0.006, n=9000, detectable=0.007), GATE).outcome is Outcome.FAIL


def test_two_equal_systems_fail_and_are_not_underpowered(comparison):
    result = judge_gate(with_main(comparison, 0.0, 0.0, 0.0, n=100, detectable=None), GATE)
    assert (result.outcome, failed(result)) == (Outcome.FAIL, ["difference"])


def test_a_gain_over_too_few_queries_is_underpowered(comparison):
    result = judge_gate(with_main(comparison, 0.3, 0.2, 0.4, n=49, losses=5), GATE)
    assert (result.outcome, failed(result)) == (Outcome.UNDERPOWERED, ["queries"])


def test_no_interval_is_underpowered(comparison):
    result = judge_gate(with_main(comparison, 0.3, None, n=4, losses=0, detectable=None), GATE)
    assert (result.outcome, failed(result)) == (Outcome.UNDERPOWERED, ["difference", "queries"])


def test_underpowered_does_not_hide_another_failure(comparison):
    result = judge_gate(with_main(comparison, 0.03, -0.06, 0.12, n=37, losses=30, detectable=0.14), GATE)
    assert (result.outcome, failed(result)) == (Outcome.FAIL, ["difference", "queries", "worse"])


def test_a_negative_bar_asks_for_non_inferiority(comparison):
    gate = GateSection(min_difference=-0.02)
    assert judge_gate(with_main(comparison, 0.0, -0.019, 0.02), gate).passed
    assert not judge_gate(with_main(comparison, 0.0, -0.021, 0.02), gate).passed
    assert judge_gate(comparison, gate).reasons[0].name == "nDCG@10 not worse"


def test_a_positive_bar_asks_for_more_than_any_gain(comparison):
    assert not judge_gate(with_main(comparison, 0.05, 0.01, 0.09), GateSection(min_difference=0.02)).passed


@pytest.mark.parametrize(("losses", "passes"), [(40, True), (41, False)])
def test_too_many_losing_queries_fail_whatever_the_mean(comparison, losses, passes):
    assert judge_gate(with_main(comparison, losses=losses), GATE).passed is passes


@pytest.mark.parametrize(
    ("difference", "low", "high", "passes"),
    [
        (-0.10, -0.15, -0.05, False),  # large and real
        (-0.10, -0.25, 0.05, True),  # large, may be chance
        (-0.03, -0.04, -0.02, True),  # real, within the margin
        (0.05, 0.02, 0.08, True),
        (-0.10, None, 0.0, True),  # nothing known
    ],
)
def test_a_slice_fails_when_its_loss_is_both_large_and_real(comparison, difference, low, high, passes):
    assert judge_gate(with_slice(comparison, difference, low, high, n=30), GATE).passed is passes


def test_a_slice_that_is_not_shown_to_hold_is_said_to_be_open(comparison):
    slices = [c for c in judge_gate(with_slice(comparison, -0.10, -0.25, 0.05), GATE).reasons if c.kind == "slice"]
    assert slices[0].note.startswith("open")
    within = [c for c in judge_gate(with_slice(comparison, 0.0, -0.04, 0.04), GATE).reasons if c.kind == "slice"]
    assert within[0].note == ""


def test_a_small_slice_is_not_judged(comparison):
    assert judge_gate(with_slice(comparison, -0.5, -0.6, -0.4, n=29), GATE).passed
    assert not judge_gate(with_slice(comparison, -0.5, -0.6, -0.4, n=30), GATE).passed


@pytest.mark.parametrize(("p50", "passes"), [(4.0, True), (4.1, False)])
def test_a_slower_search_fails_by_its_median(comparison, p50, passes):
    slower = replace(comparison, candidate=side("docs@v1", search=Timing(p50, 90.0, 200)))
    assert judge_gate(slower, GATE).passed is passes


def test_latency_can_be_left_out_of_the_gate(comparison):
    slower = replace(comparison, candidate=side("docs@v1", search=Timing(400.0, 900.0, 200)))
    assert judge_gate(slower, GateSection(max_latency_ratio=None)).passed


@pytest.mark.parametrize(("recall", "passes"), [(0.9, True), (0.899, False), (None, False)])
def test_an_index_that_loses_or_cannot_be_measured_fails(comparison, recall, passes):
    result = judge_gate(replace(comparison, candidate=side("docs@v1", ann_recall=recall)), GATE)
    assert result.passed is passes
    assert failed(result) == ([] if passes else ["recall"])


def test_an_unmeasured_index_passes_where_the_gate_asks_for_no_recall(comparison):
    unmeasured = replace(comparison, candidate=side("docs@v1", ann_recall=None))
    assert judge_gate(unmeasured, GateSection(min_ann_recall=0.0)).passed


def test_keep_base_passes_by_superiority_alone(comparison):
    kept = replace(comparison, training_verdict="keep base: dev 0.61 against 0.62")
    non_inferiority = GateSection(min_difference=-0.05)
    assert judge_gate(kept, non_inferiority).passed
    not_better = with_main(kept, 0.0, -0.01, 0.01)
    assert judge_gate(replace(not_better, training_verdict=""), non_inferiority).passed
    result = judge_gate(not_better, non_inferiority)
    assert (result.outcome, failed(result)) == (Outcome.FAIL, ["verdict"])


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (GateSection(measure="Recall@10"), "about Recall@10, the comparison about nDCG@10"),
        (GateSection(confidence=0.99), "asks for 0.99 confidence, the comparison was made at 0.95"),
        (GateSection(measure="nonsense"), "unknown"),
    ],
)
def test_a_comparison_on_other_terms_than_the_gates_is_refused(comparison, section, message):
    with pytest.raises(UsageError, match=message) as refused:
        judge_gate(comparison, section)
    assert refused.value.hint


def test_the_gates_measure_may_be_written_another_way(comparison):
    assert judge_gate(comparison, GateSection(measure="ndcg@10")).passed


def test_every_check_says_what_was_asked_and_what_was_found(comparison):
    for check in judge_gate(comparison, GATE).reasons:
        assert check.name
        assert check.expected
        assert check.observed


def test_the_result_goes_through_json(comparison):
    plain = json.loads(json.dumps(judge_gate(comparison, GATE).to_dict()))
    assert (plain["outcome"], plain["passed"], len(plain["reasons"])) == ("pass", True, 7)
    assert plain["reasons"][0]["observed"] == "+0.050 [+0.020, +0.080]"


# Queries that nobody asked.


def test_a_gain_on_queries_that_nobody_asked_is_undecided_and_not_passed(comparison):
    result = judge_gate(made(comparison, 60, 40), GATE)
    assert (result.outcome, result.passed, failed(result)) == (Outcome.UNDECIDED, False, ["asked"])
    check = result.failures[0]
    assert (check.name, check.expected, check.observed) == ("queries that users asked", "at least 1", "0 of 100")
    assert "[gate] accept_synthetic = true" in check.note


def test_the_gate_can_be_told_to_accept_them_and_still_says_what_they_are(comparison):
    result = judge_gate(made(comparison, 100), GateSection(accept_synthetic=True))
    assert (result.outcome, result.passed) == (Outcome.PASS, True)
    assert [check.note[:17] for check in result.reasons if check.kind == "asked"] == ["all are synthetic"]


def test_what_speaks_against_the_candidate_counts_on_any_queries(comparison):
    result = judge_gate(made(with_main(comparison, losses=60), 100), GATE)
    assert (result.outcome, failed(result)) == (Outcome.FAIL, ["asked", "worse"])
    no_gain = judge_gate(made(with_main(comparison, 0.0, -0.004, 0.004, n=200, detectable=0.006), 200), GATE)
    assert no_gain.outcome is Outcome.FAIL


def test_too_few_of_them_are_underpowered(comparison):
    few = made(with_main(comparison, 0.3, 0.2, 0.4, n=49, losses=5), 49)
    assert judge_gate(few, GATE).outcome is Outcome.UNDERPOWERED
    assert judge_gate(few, GateSection(accept_synthetic=True)).outcome is Outcome.UNDERPOWERED


@pytest.mark.parametrize("counts", [(99,), (60, 39), ()])
def test_one_query_that_somebody_asked_lets_the_figures_decide(comparison, counts):
    result = judge_gate(made(comparison, *counts), GATE)
    assert result.passed
    assert "asked" not in [check.kind for check in result.reasons]


def test_users_slices_are_not_taken_for_synthetic_ones(comparison):
    assert judge_gate(made(comparison, 100, name="about synthetic: fibres"), GATE).passed
