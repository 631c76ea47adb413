"""Position bias: recovered from a log that allows it, assumed and said so from one that doesn't."""

from __future__ import annotations

import random

import pytest

from vecmigrate.config import LogSection
from vecmigrate.querylog import JudgmentRules, judge, resolve
from vecmigrate.querylog.impressions import propensities_of
from vecmigrate.querylog.propensity import LARGEST_WEIGHT, LEAST, Propensities, estimate
from vecmigrate.records import Feedback, FeedbackKind, QueryEvent
from vecmigrate.testing.memory import MemoryStore, SourceRow

TRUE = {1: 1.0, 2: 0.62, 3: 0.41, 4: 0.30, 5: 0.21}
"""The chance of a look at each rank, as the simulated users have it."""
CHUNKS = [f"d{i}" for i in range(12)]
CHUNK_OF = {chunk: chunk for chunk in CHUNKS}


def simulated(searches, seed, look=TRUE, shuffle=True):
    """Users of the position-based model on 30 queries whose rankings vary by chance, better chunks higher on the whole."""
    rng = random.Random(seed)
    relevance = {(query, chunk): rng.choice((0.05, 0.2, 0.6)) for query in range(30) for chunk in CHUNKS}
    for n in range(searches):
        query = rng.randrange(30)
        noise = 0.6 if shuffle else 0.0
        order = sorted(CHUNKS, key=lambda chunk: (-relevance[query, chunk] - noise * rng.random(), chunk))[: len(look)]
        clicked = [chunk for rank, chunk in enumerate(order, 1) if rng.random() < look[rank] * relevance[query, chunk]]
        acts = tuple(Feedback(chunk, FeedbackKind.CLICK) for chunk in clicked)
        yield QueryEvent(f"q{n}", f"question {query}", user=f"u{n}", shown=tuple(order), feedback=acts)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_estimate_recovers_the_users_propensities(seed):
    found = propensities_of(list(simulated(12_000, seed)), CHUNK_OF, JudgmentRules())
    assert found.source == "estimated"
    for rank, true in TRUE.items():
        assert found.at(rank) == pytest.approx(true, abs=0.06)


def test_click_rates_by_rank_alone_would_be_wrong():
    """What the pairs are for: better chunks stand higher, so plain click rates fall faster than looks do."""
    events = list(simulated(12_000, 1))
    rates = [sum(any(act.ref == e.shown[rank] for act in e.feedback) for e in events) / len(events) for rank in range(5)]
    assert rates[4] / rates[0] < TRUE[5] - 0.08


def test_users_without_bias_are_found_to_have_none():
    found = propensities_of(list(simulated(12_000, 4, look=dict.fromkeys(TRUE, 0.5))), CHUNK_OF, JudgmentRules())
    assert min(found.at(rank) for rank in TRUE) > 0.9
    assert found.eta < 0.1


def test_ranks_below_those_seen_follow_the_nearest_curve():
    look = {rank: 1 / rank for rank in range(1, 6)}
    found = propensities_of(list(simulated(20_000, 5, look=look)), CHUNK_OF, JudgmentRules())
    assert found.eta == pytest.approx(1.0, abs=0.12)
    assert found.at(20) == pytest.approx(1 / 20, abs=0.03)


def test_rankings_that_never_vary_show_nothing_and_the_default_says_so():
    found = propensities_of(list(simulated(3_000, 1, shuffle=False)), CHUNK_OF, JudgmentRules(eta=0.8))
    assert (found.source, found.at(4)) == ("default", 4**-0.8)
    assert found.lines() == [
        "  position bias: not estimated (0 query-chunk pairs were seen at more than one rank, with 0 clicks; 50 and 500 are needed); "
        "assumed 1/rank^0.8"
    ]


def test_a_log_of_clicked_searches_only_has_no_click_rates():
    events = [event for event in simulated(3_000, 1) if event.feedback]
    found = propensities_of(events, CHUNK_OF, JudgmentRules())
    assert found.source == "default"
    assert "nearly every logged search has a click" in found.why


def test_pairs_that_never_touch_rank_1_say_nothing_about_it():
    moved = {("q", f"d{i}"): {2: (30, 12), 3: (30, 6)} for i in range(60)}
    assert "rank 1" in estimate(moved, abandoned=0.5, eta=1.0).why


def test_too_few_clicks_are_not_estimated_from():
    few = {("q", f"d{i}"): {1: (10, 5), 2: (10, 3)} for i in range(62)}
    assert estimate(few, abandoned=0.5, eta=1.0).source == "default"
    assert estimate({**few, ("q", "d62"): {1: (10, 3), 2: (10, 1)}}, abandoned=0.5, eta=1.0).source == "estimated"


def test_the_pooled_ratio_is_exact_on_counts_without_noise():
    pairs = {("q", f"d{i}"): {1: (20, 10), 2: (40, 12), 3: (10, 2)} for i in range(60)}
    found = estimate(pairs, abandoned=0.5, eta=1.0)
    assert [round(found.at(rank), 6) for rank in (1, 2, 3)] == [1.0, 0.6, 0.4]
    assert (found.pairs, found.clicks) == (60, 1440)
    assert found.lines() == ["  position bias: estimated from 60 pairs at several ranks with 1,440 clicks (1: 1.00, 2: 0.60, 3: 0.40)"]


def test_a_mean_rank_lies_between_its_neighbours():
    assert Propensities("default", 1.0).at(1.5) == pytest.approx(0.75)


def test_no_rank_is_taken_to_be_invisible():
    assert Propensities("default", 3.0).at(500) == LEAST


def test_the_weight_of_a_click_grows_with_its_rank_up_to_a_limit():
    found = Propensities("default", 1.0)
    assert [found.weight(rank) for rank in (1, 1.5, 2, 3, 100)] == [1.0, pytest.approx(4 / 3), 2.0, LARGEST_WEIGHT, LARGEST_WEIGHT]
    assert found.weight(None) == 1.0
    assert Propensities("off", 1.0).weight(9) == 1.0


STORE = MemoryStore([SourceRow(chunk, f"text of {chunk}", None) for chunk in CHUNKS])


def judged(*events, **settings):
    return judge(resolve(events, STORE, LogSection(path="log", **settings)))


def clicked(ref, shown, **more):
    act = Feedback(ref, FeedbackKind.CLICK, position=more.pop("position", None), count=more.pop("count", 1))
    return QueryEvent(more.pop("query_id", "q"), more.pop("text", "vpn setup"), shown=shown, feedback=(act,), **more)


def test_a_click_further_down_has_more_weight_but_one_person_never_all():
    for place, weight in enumerate([0.5, 0.75, 0.75]):
        (judgment,) = judged(clicked(CHUNKS[place], tuple(CHUNKS[:4]))).judgments
        assert judgment.weight == weight


def test_the_report_says_that_the_default_was_used_and_off_turns_it_off():
    event = clicked("d2", ("d0", "d1", "d2"))
    assert any("not estimated" in line and "assumed 1/rank^1" in line for line in judged(event).report.lines())
    off = judged(event, position_bias="off")
    assert off.judgments[0].weight == 0.5
    assert '  position bias: not corrected for (position_bias = "off")' in off.report.lines()
    fixed = judged(event, position_bias="default", position_eta=0.5)
    assert fixed.judgments[0].weight == pytest.approx(0.25 + 0.25 * 3**0.5)


def test_an_estimate_is_what_the_weights_are_made_of():
    log = judged(*simulated(12_000, 1))
    assert log.report.position_bias[0].startswith("  position bias: estimated from 3")


def test_robots_have_no_part_in_the_estimate():
    """One session that clicks on everything would make every rank look alike."""
    people = list(simulated(12_000, 1))
    robot = [
        QueryEvent(
            f"r{n}", event.text, session="bot", shown=event.shown, feedback=tuple(Feedback(ref, FeedbackKind.CLICK) for ref in event.shown)
        )
        for n, event in enumerate(simulated(3_000, 6))
    ]
    assert judged(*people, *robot).report.position_bias == judged(*people).report.position_bias


def test_no_correction_is_claimed_where_no_clicks_rank_is_known():
    log = judged(clicked("d2", ()))
    assert log.judgments[0].weight == 0.5
    assert log.report.position_bias == ("  position bias: not corrected for, since the log does not say at which rank a click was",)


def test_clicks_without_a_rank_beside_others_are_counted():
    log = judged(clicked("d2", ()), clicked("d1", ("d0", "d1"), query_id="q2"))
    assert log.report.position_bias[-1] == "  1 clicks without a rank count as at rank 1"


def test_the_place_in_the_list_goes_before_a_logged_rank_that_may_count_from_0():
    assert judged(clicked("d0", ("d0", "d1"), position=2.0)).judgments[0].weight == 0.5


def test_a_log_without_clicks_says_nothing_of_position_bias():
    cited = QueryEvent("q", "vpn", shown=("d0", "d1"), feedback=(Feedback("d1", FeedbackKind.CITATION),))
    log = judged(cited)
    assert (log.report.position_bias, log.judgments[0].weight) == ((), 0.5)
