"""Which chunks may serve as hard negatives, and what keeps the others out."""

from __future__ import annotations

import numpy as np
import pytest

from vecmigrate.config import DatasetSection
from vecmigrate.dataset.drafting import PairIds
from vecmigrate.dataset.judged import Judged
from vecmigrate.dataset.mining_report import MOST_POSITIVES
from vecmigrate.dataset.negatives import mine
from vecmigrate.dataset.searching import Mining
from vecmigrate.records import Judgment, Query
from vecmigrate.testing.memory import MemoryStore
from vecmigrate.versions import Metric

from .mining_world import ABOVE, POSITIVE, mined, world


def test_vectors_of_another_dimension_have_no_part(monkeypatch):
    """As a column without a declared dimension may hold them, after a half-done re-embedding."""
    vectors = MemoryStore.vectors

    def mixed(store, version, ids):
        return {id: np.ones(3, np.float32) if id in ("odd", "pos2") else v for id, v in vectors(store, version, ids).items()}

    monkeypatch.setattr(MemoryStore, "vectors", mixed)
    pairs, _ = mined({**ABOVE, "pos": 20, "odd": 50, "neg": 60, "pos2": 21}, [POSITIVE, Judgment("q", "pos2", 1.0)])
    assert {pair.chunk_id: pair.negatives for pair in pairs} == {"pos": ("neg",), "pos2": ()}


def test_a_candidate_clearly_below_the_positive_is_taken():
    pairs, report = mined({**ABOVE, "pos": 20, "neg": 60}, [POSITIVE])
    assert pairs == (PairIds("q", "pos", ("neg",), 0.75),)
    assert (report.pairs, report.wanted, report.negatives, report.short) == (1, 1, 1, 0)
    assert report.positive_similarity == pytest.approx(np.cos(np.radians(20)), abs=1e-6)
    assert report.negative_similarity == pytest.approx(np.cos(np.radians(60)), abs=1e-6)


def test_the_first_ranks_are_never_taken():
    angles = {f"n{i:02d}": -60 - i for i in range(5)}
    pairs, report = mined({"pos": 50, **angles}, [Judgment("q", "pos", 1.0)], negatives_per_pair=9)
    assert sorted(pairs[0].negatives) == ["n03", "n04"]
    assert (report.candidates, report.short) == (2, 1)


def test_a_candidate_as_similar_as_the_positive_is_skipped():
    pairs, report = mined({**ABOVE, "pos": 20, "like": -26, "neg": -27.5}, [POSITIVE], negatives_per_pair=4)
    assert pairs[0].negatives == ("neg",)
    assert report.skipped["more than 0.95 times as similar to the query as its relevant chunk"] == 1


def test_the_limit_moves_with_the_setting():
    angles = {**ABOVE, "pos": 20, "n1": -50, "n2": -75}
    assert set(mined(angles, [POSITIVE], negatives_per_pair=4)[0][0].negatives) == {"n1", "n2"}
    assert mined(angles, [POSITIVE], negatives_per_pair=4, negative_max_relative_score=0.5)[0][0].negatives == ("n2",)


def test_a_nearly_equal_chunk_is_skipped():
    pairs, report = mined({**ABOVE, "pos": 30, "twin": 45, "neg": -60}, [Judgment("q", "pos", 1.0)], negatives_per_pair=4)
    assert pairs[0].negatives == ("neg",)
    assert report.skipped["nearly the same as a relevant chunk"] == 1


def test_a_chunk_of_the_same_text_is_skipped_whatever_its_vector():
    pairs, _ = mined({**ABOVE, "pos": 20, "copy": -70, "neg": -60}, [POSITIVE], negatives_per_pair=4, hashes={"pos": "h", "copy": "h"})
    assert pairs[0].negatives == ("neg",)


def test_what_is_relevant_to_another_wording_is_skipped():
    queries = (Query("q", "0", group="g"), Query("r", "1", group="g"))
    pairs, report = mined(
        {**ABOVE, "pos": 20, "other": -60, "neg": 80}, [POSITIVE, Judgment("r", "other", 1.0)], queries=queries, negatives_per_pair=4
    )
    assert {id for pair in pairs for id in pair.negatives} == {"neg"}
    assert report.skipped["relevant to the query or to another wording of it"] >= 2


def test_what_is_relevant_to_an_unlike_query_may_be_taken():
    queries = (Query("q", "0", group="g"), Query("r", "90", group="h"))
    pairs, _ = mined({**ABOVE, "pos": 20, "other": -60}, [POSITIVE, Judgment("r", "other", 1.0)], queries=queries)
    assert pairs[0].negatives == ("other",)


def test_what_users_rated_not_relevant_comes_first():
    judgments = [POSITIVE, Judgment("q", "rated", 0.0)]
    pairs, report = mined({**ABOVE, "pos": 20, "neg": 60, "rated": 25 - 90}, judgments, negatives_per_pair=2)
    assert pairs[0].negatives == ("rated", "neg")
    assert report.explicit == 1


def test_no_chunk_is_a_negative_twice():
    pairs, _ = mined({**ABOVE, "pos": 20, "rated": -65}, [POSITIVE, Judgment("q", "rated", 0.0)], negatives_per_pair=2)
    assert pairs[0].negatives == ("rated",)


def test_a_rated_chunk_that_equals_a_relevant_one_is_not_taken():
    pairs, report = mined({**ABOVE, "pos": 20, "rated": 21, "neg": -60}, [POSITIVE, Judgment("q", "rated", 0.0)])
    assert pairs[0].negatives == ("neg",)
    assert report.explicit == 0


def test_a_positive_without_a_vector_gets_no_mined_negatives():
    pairs, report = mined({**ABOVE, "neg": 60}, [POSITIVE])
    assert pairs == (PairIds("q", "pos", (), 0.75),)
    assert report.skipped == {"their relevant chunk has no vector to compare with": 1}


def test_a_positive_that_points_away_gets_none():
    pairs, report = mined({**ABOVE, "pos": 120, "neg": -130}, [Judgment("q", "pos", 1.0)])
    assert pairs[0].negatives == ()
    assert report.short == 1


@pytest.mark.parametrize("metric", list(Metric))
def test_the_limit_means_the_same_under_every_metric(metric):
    angles = {**ABOVE, "pos": 20, "like": -26, "neg": 60}
    lengths = {**dict.fromkeys(ABOVE, 1.1), "like": 1.05, "neg": 0.9}
    pairs, _ = mined(angles, [POSITIVE], metric=metric, lengths=lengths, negatives_per_pair=4)
    assert pairs[0].negatives == ("neg",)


def test_each_relevant_chunk_makes_a_pair_up_to_a_limit():
    angles = {f"p{i:02d}": 10 for i in range(14)}
    judgments = [Judgment("q", f"p{i:02d}", 2.0 if i == 13 else 1.0, 0.5) for i in range(14)]
    pairs, report = mined(angles, judgments)
    assert len(pairs) == MOST_POSITIVES
    assert "p13" in {pair.chunk_id for pair in pairs}
    assert report.beyond == 4
    assert any("4 relevant chunks beyond a query's 10 best have no pair" in line for line in report.lines())


def test_the_choice_is_by_seed_and_within_the_depth():
    angles = {"pos": 20, **{f"n{i:03d}": -30 - i * 0.5 for i in range(100)}}
    first, _ = mined(angles, [POSITIVE], negatives_per_pair=3)
    assert first == mined(angles, [POSITIVE], negatives_per_pair=3)[0]
    choices = {mined(angles, [POSITIVE], negatives_per_pair=3, seed=seed)[0][0].negatives for seed in range(5)}
    assert len(choices) > 1
    assert all(int(id[1:]) < 50 for chosen in choices for id in chosen)
    assert len(set(first[0].negatives)) == 3


def test_without_negatives_nothing_is_searched():
    store, control = world({"pos": 20})
    mining = Mining(store, control, None, DatasetSection(negatives_per_pair=0))
    found = mine(mining, [Query("q", "0", group="g")], Judged({"q": [POSITIVE]}, {"g": frozenset({"pos"})}, {}))
    assert found.pairs == (PairIds("q", "pos", (), 0.75),)
    assert (found.report.wanted, found.report.short, found.candidates) == (0, 0, {})


def test_many_queries_go_through_in_batches():
    queries = [Query(f"q{i:03d}", str(i), group=f"g{i}") for i in range(150)]
    judgments = [Judgment(query.id, f"c{i:03d}", 1.0) for i, query in enumerate(queries)]
    pairs, report = mined({f"c{i:03d}": i for i in range(180)}, judgments, queries=queries)
    assert [pair.query_id for pair in pairs] == [query.id for query in queries]
    assert report.negatives + report.short == 150


def test_similarities_are_those_of_pairs_that_were_given_mined_negatives():
    """The second query's relevant chunk is farther than all others, so it gets none and would only blur the mean."""
    queries = (Query("q", "0", group="g"), Query("r", "180", group="h"))
    judgments = [POSITIVE, Judgment("r", "above0", 1.0)]
    _, report = mined({**ABOVE, "pos": 20, "neg": 60}, judgments, queries=queries)
    assert (report.negatives, report.short) == (1, 1)
    assert report.positive_similarity == pytest.approx(np.cos(np.radians(20)), abs=1e-6)


def test_without_mined_negatives_there_are_no_similarities_to_report():
    _, report = mined({**ABOVE, "pos": 20}, [POSITIVE])
    assert not any("similarity to the query:" in line for line in report.lines())


def test_the_report_says_what_was_skipped_and_why():
    _, report = mined({**ABOVE, "pos": 20, "like": -26, "neg": 60}, [POSITIVE], negatives_per_pair=2)
    assert report.lines() == [
        "mined 1 of 2 hard negatives for 1 pairs (0 by users' ratings)",
        "  similarity to the query: relevant 0.940, negatives 0.500",
        "  1 of 3 candidates skipped: relevant to the query or to another wording of it",
        "  1 of 3 candidates skipped: more than 0.95 times as similar to the query as its relevant chunk",
        "  4 hits above the first rank were not looked at: too often relevant and merely unjudged",
        "  1 pairs have fewer than asked for: the other pairs of their batch are their negatives",
    ]
