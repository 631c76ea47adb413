"""Each threshold of [dataset] keeps out what it says, alone and with the others, and counts it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from vecmigrate.config import DatasetSection
from vecmigrate.dataset.screening import POINTS_AWAY, SAME_DOCUMENT
from vecmigrate.records import Judgment, Query

from .mining_world import ABOVE, POSITIVE, mined

# The cosine to the query at 0°: 20° 0.940, 40° 0.766, 50° 0.643, 60° 0.5, 70° 0.342. The first four ranks are those of ABOVE.
SPREAD = {**ABOVE, "pos": 20, "n40": -40, "n50": -50, "n60": -60, "n70": -70}


def chosen(pairs):
    (pair,) = pairs
    return set(pair.negatives)


# Similarity.


def test_without_further_thresholds_only_the_relative_one_counts():
    pairs, report = mined(SPREAD, [POSITIVE], negatives_per_pair=9)
    assert chosen(pairs) == {"n40", "n50", "n60", "n70"}
    assert report.skipped == {"relevant to the query or to another wording of it": 1}


def test_a_candidate_above_the_absolute_limit_is_skipped():
    pairs, report = mined(SPREAD, [POSITIVE], negatives_per_pair=9, negative_max_score=0.6)
    assert chosen(pairs) == {"n60", "n70"}
    assert report.skipped["a similarity to the query above 0.6"] == 2


def test_a_candidate_within_the_margin_is_skipped():
    pairs, report = mined(SPREAD, [POSITIVE], negatives_per_pair=9, negative_margin=0.25)
    assert chosen(pairs) == {"n50", "n60", "n70"}
    assert report.skipped["less than 0.25 less similar to the query than its relevant chunk"] == 1


def test_thresholds_combine_and_each_candidate_is_counted_once():
    pairs, report = mined(
        SPREAD, [POSITIVE], negatives_per_pair=9, negative_max_relative_score=0.7, negative_max_score=0.6, negative_margin=0.5
    )
    assert chosen(pairs) == {"n70"}
    assert report.skipped == {
        "relevant to the query or to another wording of it": 1,
        "more than 0.7 times as similar to the query as its relevant chunk": 1,
        "a similarity to the query above 0.6": 1,
        "less than 0.5 less similar to the query than its relevant chunk": 1,
    }
    assert report.candidates == sum(report.skipped.values()) + report.negatives


def test_no_candidate_more_similar_than_the_positive_is_taken_even_with_a_share_of_one():
    pairs, _ = mined({**ABOVE, "pos": 20, "nearer": -19, "farther": -21}, [POSITIVE], negatives_per_pair=9, negative_max_relative_score=1)
    assert chosen(pairs) == {"farther"}


def test_a_positive_that_points_away_is_a_reason_of_its_own():
    _, report = mined({**ABOVE, "pos": 120, "neg": -130}, [Judgment("q", "pos", 1.0)])
    assert report.skipped[POINTS_AWAY] == 1


@pytest.mark.parametrize(("threshold", "taken"), [(0.95, {"n55"}), (0.8, set()), (1.0, {"n35", "n55"})])
def test_how_near_a_near_duplicate_is_can_be_said(threshold, taken):
    """The candidates lie 15° and 35° from the positive: cosines of 0.966 and 0.819."""
    pairs, report = mined({**ABOVE, "pos": 20, "n35": 35, "n55": 55}, [POSITIVE], negatives_per_pair=9, negative_near_duplicate=threshold)
    assert chosen(pairs) == taken
    assert report.skipped.get("nearly the same as a relevant chunk", 0) == 2 - len(taken)


# Ranks.


def test_the_window_begins_at_the_first_rank():
    pairs, report = mined({"pos": 20, "n40": -40, "n50": -50}, [POSITIVE], negatives_per_pair=9, negative_first_rank=1)
    assert chosen(pairs) == {"n40", "n50"}
    assert (report.candidates, report.above) == (3, 0)


def test_what_lies_above_the_window_is_counted_for_each_pair():
    both = [POSITIVE, Judgment("q", "n50", 1.0)]
    _, report = mined(SPREAD, both, negatives_per_pair=9, negative_first_rank=7)
    assert (report.above, report.candidates) == (12, 6)
    assert "  12 hits above the first rank were not looked at: too often relevant and merely unjudged" in report.lines()


def test_the_window_ends_at_the_last_rank():
    pairs, report = mined(SPREAD, [POSITIVE], negatives_per_pair=9, negative_last_rank=7)
    assert chosen(pairs) == {"n40", "n50"}
    assert report.candidates == 3


def test_the_best_ranked_are_taken_when_the_choice_is_top():
    for seed in range(5):
        pairs, _ = mined(SPREAD, [POSITIVE], negatives_per_pair=2, negative_choice="top", seed=seed)
        assert pairs[0].negatives == ("n40", "n50")


# Documents.


def test_other_parts_of_the_answers_document_are_skipped():
    documents = {"pos": "manual.pdf", "n40": "manual.pdf", "n50": "other.pdf"}
    pairs, report = mined(SPREAD, [POSITIVE], documents=documents, negatives_per_pair=9)
    assert chosen(pairs) == {"n50", "n60", "n70"}
    assert report.skipped[SAME_DOCUMENT] == 1
    assert "  1 of 5 candidates skipped: of the same document as a relevant chunk" in report.lines()


def test_chunks_without_a_document_are_of_no_document():
    assert chosen(mined(SPREAD, [POSITIVE], documents={"n40": "a"}, negatives_per_pair=9)[0]) == {"n40", "n50", "n60", "n70"}


def test_the_document_of_what_answers_another_wording_counts():
    queries = (Query("q", "0", group="g"), Query("r", "1", group="g"))
    judgments = [POSITIVE, Judgment("r", "n70", 1.0)]
    assert "n50" in {id for pair in mined(SPREAD, judgments, queries=queries, negatives_per_pair=9)[0] for id in pair.negatives}
    pairs, _ = mined(SPREAD, judgments, queries=queries, documents={"n70": "d", "n50": "d"}, negatives_per_pair=9)
    assert {id for pair in pairs for id in pair.negatives} == {"n40"}


def test_the_document_of_what_answers_an_unlike_query_does_not():
    queries = (Query("q", "0", group="g"), Query("r", "90", group="h"))
    judgments = [POSITIVE, Judgment("r", "n70", 1.0)]
    pairs, _ = mined(SPREAD, judgments, queries=queries, documents={"n70": "d", "n50": "d"}, negatives_per_pair=9)
    assert next(set(pair.negatives) for pair in pairs if pair.query_id == "q") == {"n40", "n50", "n60", "n70"}


def test_what_people_rated_not_relevant_is_taken_out_of_the_same_document():
    judgments = [POSITIVE, Judgment("q", "n40", 0.0)]
    pairs, report = mined(SPREAD, judgments, documents={"pos": "d", "n40": "d"})
    assert pairs[0].negatives == ("n40",)
    assert report.explicit == 1


# What users passed over.


def passing(*ids, angles=SPREAD, **settings):
    return mined(angles, [POSITIVE], passed_over={"q": frozenset(ids)}, **settings)


def test_what_users_passed_over_comes_before_what_was_found():
    for seed in range(5):
        pairs, report = passing("n60", negatives_per_pair=2, seed=seed)
        assert pairs[0].negatives[0] == "n60"
        assert report.passed_over == 1
    assert report.lines()[0] == "mined 2 of 2 hard negatives for 1 pairs (0 by users' ratings, 1 that users passed over)"


def test_what_users_rated_comes_before_what_they_passed_over():
    judgments = [POSITIVE, Judgment("q", "n70", 0.0)]
    pairs, _ = mined(SPREAD, judgments, passed_over={"q": frozenset({"n60"})}, negatives_per_pair=2)
    assert pairs[0].negatives == ("n70", "n60")


def test_a_passed_over_chunk_need_not_be_in_the_window():
    pairs, report = passing("n70", negative_last_rank=6)
    assert pairs[0].negatives == ("n70",)
    assert (report.candidates, report.passed_over) == (3, 1)


def test_a_passed_over_chunk_must_keep_the_margin():
    """It was shown above a click, so it is often as good, or was never read."""
    pairs, report = passing("above0", "n40", negatives_per_pair=1, negative_margin=0.25, negative_choice="top")
    assert pairs[0].negatives == ("n50",)
    assert report.passed_over == 0
    assert report.skipped["less than 0.25 less similar to the query than its relevant chunk"] == 1
    assert report.skipped["more than 0.95 times as similar to the query as its relevant chunk"] == 1


def test_a_passed_over_chunk_that_is_relevant_or_of_its_document_is_skipped():
    pairs, report = mined(
        SPREAD, [POSITIVE], passed_over={"q": frozenset({"pos", "n40"})}, documents={"pos": "d", "n40": "d"}, negative_choice="top"
    )
    assert pairs[0].negatives == ("n50",)
    assert report.passed_over == 0


def test_a_passed_over_chunk_without_a_vector_is_skipped_and_counted():
    pairs, report = passing("gone", negative_choice="top")
    assert pairs[0].negatives == ("n40",)
    assert report.skipped["no vector"] == 1


def test_a_passed_over_chunk_that_people_rated_is_taken_once():
    judgments = [POSITIVE, Judgment("q", "n40", 0.0)]
    pairs, report = mined(SPREAD, judgments, passed_over={"q": frozenset({"n40"})}, negatives_per_pair=9)
    assert sorted(pairs[0].negatives) == ["n40", "n50", "n60", "n70"]
    assert (report.explicit, report.passed_over) == (1, 0)


def test_what_others_passed_over_plays_no_part():
    pairs, report = mined(SPREAD, [POSITIVE], passed_over={"r": frozenset({"n70"})}, negative_choice="top")
    assert pairs[0].negatives == ("n40",)
    assert report.passed_over == 0


# Grades.


def test_a_pair_has_the_grade_of_its_judgment():
    pairs, _ = mined(SPREAD, [Judgment("q", "pos", 3.0, 0.5), Judgment("q", "n40", 1.0)])
    assert {pair.chunk_id: (pair.grade, pair.weight) for pair in pairs} == {"pos": (3.0, 0.5), "n40": (1.0, 1.0)}


# What the configuration takes.


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"negative_first_rank": 51}, "negative_first_rank 51 is behind negative_last_rank 50"),
        ({"negative_first_rank": 0}, "negative_first_rank"),
        ({"negative_last_rank": 1001}, "negative_last_rank"),
        ({"negative_margin": -0.1}, "negative_margin"),
        ({"negative_max_score": 1.1}, "negative_max_score"),
        ({"negative_near_duplicate": 1.1}, "negative_near_duplicate"),
        ({"negative_choice": "best"}, "negative_choice"),
        ({"negative_search": "fast"}, "negative_search"),
        ({"negative_filter_share": 2}, "negative_filter_share"),
        ({"remine_chunks": 0}, "remine_chunks"),
    ],
)
def test_a_threshold_that_means_nothing_is_refused(settings, complaint):
    with pytest.raises(ValidationError, match=complaint):
        DatasetSection(**settings)


def test_the_defaults_are_those_of_the_documentation():
    settings = DatasetSection()
    assert (settings.negative_max_relative_score, settings.negative_near_duplicate) == (0.95, 0.95)
    assert (settings.negative_first_rank, settings.negative_last_rank, settings.negative_choice) == (5, 50, "random")
    assert (settings.negative_max_score, settings.negative_margin, settings.negative_filter, settings.document_key) == (None,) * 4
