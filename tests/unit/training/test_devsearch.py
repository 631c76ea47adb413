"""nDCG@10 on the dev queries: the field's numbers, in a pool that keeps every judged chunk."""

from __future__ import annotations

import ir_measures
import numpy as np
import pytest
from ir_measures import Qrel, ScoredDoc

from vecmigrate.dataset.pairs import DevSet
from vecmigrate.errors import DataError
from vecmigrate.records import Judgment, Query
from vecmigrate.training.devsearch import dev_search, ndcg


def dev_set(chunks: int, queries: int = 2, grade: float = 1.0) -> DevSet:
    asked = tuple(Query(f"q{n}", f"ask {n}") for n in range(queries))
    return DevSet(asked, tuple(Judgment(f"q{n}", f"c{n}", grade) for n in range(queries)), {f"c{n}": f"text {n}" for n in range(chunks)})


@pytest.mark.parametrize(
    ("ranked", "grades", "expected"),
    [
        ([0, 1, 2], {0: 1.0}, 1.0),
        ([1, 0, 2], {0: 1.0}, 1 / np.log2(3)),
        ([1, 2, 3], {0: 1.0}, 0.0),
        ([1, 0], {0: 2.0, 1: 1.0}, (1 + 2 / np.log2(3)) / (2 + 1 / np.log2(3))),
        (list(range(1, 11)), {0: 1.0}, 0.0),
    ],
)
def test_ndcg_is_the_textbooks(ranked: list[int], grades: dict[int, float], expected: float) -> None:
    assert ndcg(ranked, grades) == pytest.approx(expected)


def test_ndcg_is_that_of_ir_measures() -> None:
    chance = np.random.default_rng(0)
    for _ in range(20):
        grades = {int(place): float(chance.integers(1, 4)) for place in chance.choice(30, size=5, replace=False)}
        ranked = chance.permutation(30).tolist()
        qrels = [Qrel("q", str(place), int(grade)) for place, grade in grades.items()]
        run = [ScoredDoc("q", str(place), 30.0 - rank) for rank, place in enumerate(ranked)]
        assert ndcg(ranked, grades) == pytest.approx(ir_measures.calc_aggregate([ir_measures.nDCG @ 10], qrels, run)[ir_measures.nDCG @ 10])


def test_every_judged_chunk_stays_in_the_pool() -> None:
    search = dev_search(dev_set(100, queries=20), seed=0, largest_pool=25)
    assert len(search.pool) == 25
    assert all(f"text {n}" in search.pool for n in range(20))
    assert [search.pool[next(iter(grades))] for grades in search.grades] == [f"text {n}" for n in range(20)]


def test_more_judged_chunks_than_the_pool_holds_all_stay() -> None:
    assert len(dev_search(dev_set(100, queries=40), seed=0, largest_pool=25).pool) == 40


def test_the_pool_is_the_same_for_the_same_seed() -> None:
    pools = [dev_search(dev_set(100), seed=seed, largest_pool=10).pool for seed in (1, 1, 2)]
    assert pools[0] == pools[1] != pools[2]


def test_queries_that_nothing_can_be_right_for_are_left_out() -> None:
    dev = dev_set(3)
    judgments = (dev.judgments[0], Judgment("q1", "c1", 0.0), Judgment("q1", "gone", 1.0))
    assert dev_search(DevSet(dev.queries, judgments, dev.pool), seed=0).queries == ("ask 0",)


@pytest.mark.parametrize(
    "dev", [DevSet((), (), {}), dev_set(0), dev_set(5, grade=0.0), DevSet((Query("q0", " "),), (Judgment("q0", "c", 1),), {"c": "t"})]
)
def test_a_dev_set_without_a_usable_query_is_refused(dev: DevSet) -> None:
    with pytest.raises(DataError, match="no dev query has a relevant chunk") as caught:
        dev_search(dev, seed=0)
    assert "dev_fraction" in caught.value.hint


class Axes:
    """Each text a unit vector along the axis of its number, times a length that cosine must not mind."""

    def _vectors(self, texts: object) -> np.ndarray:
        return np.stack([(1 + int(t.split()[-1])) * np.eye(8, dtype=np.float32)[int(t.split()[-1]) % 8] for t in texts])  # type: ignore[attr-defined]

    encode_documents = encode_queries = _vectors


def test_a_model_that_finds_everything_scores_one() -> None:
    assert dev_search(dev_set(8), seed=0).measure(Axes()).tolist() == [1.0, 1.0]  # type: ignore[arg-type]


def test_scores_come_query_by_query() -> None:
    dev = dev_set(8)
    swapped = (Judgment("q0", "c0", 1.0), Judgment("q1", "c0", 1.0))
    scores = dev_search(DevSet(dev.queries, swapped, dev.pool), seed=0).measure(Axes())  # type: ignore[arg-type]
    assert scores[0] == 1.0
    assert scores[1] == pytest.approx(1 / np.log2(3))
