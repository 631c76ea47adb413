"""The matrix on the query side: it learns what is linear, leaves alone what is noise, and is the same for the same seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from vecmigrate.training.adapter import EVERY, PASSES, PULLS, Adapter, fit_adapter
from vecmigrate.training.devsearch import DevSearch
from vecmigrate.training.examples import Examples

DIMENSION = 8
THINGS = 32
MANY = 1200
ANGLE = 0.6
Array = NDArray[np.float32]


class Known:
    """An encoder of texts with literal vectors."""

    model: Any = None

    def __init__(self, queries: Mapping[str, Array], chunks: Mapping[str, Array]) -> None:
        self._queries, self._chunks = queries, chunks

    def encode_queries(self, texts: Sequence[str]) -> Array:
        return np.stack([self._queries[text] for text in texts])

    def encode_documents(self, texts: Sequence[str]) -> Array:
        return np.stack([self._chunks[text] for text in texts])

    def count_truncated(self, texts: Sequence[str]) -> int:
        return 0


def unit(rows: Array) -> Array:
    made: Array = (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)
    return made


def rotation() -> Array:
    """By `ANGLE` in each of the planes of two neighbouring axes."""
    turn = np.array([[np.cos(ANGLE), -np.sin(ANGLE)], [np.sin(ANGLE), np.cos(ANGLE)]])
    made: Array = np.kron(np.eye(DIMENSION // 2), turn).astype(np.float32)
    return made


def turned_world(things: int = THINGS, *, noise: bool = False) -> tuple[Known, Examples, DevSearch]:
    """Each query lies where a rotation has taken its chunk; with `noise` it lies anywhere. Half are trained on, half are dev queries."""
    chance = np.random.default_rng(0)
    chunks = unit(chance.normal(size=(things, DIMENSION)).astype(np.float32))
    asked = unit(chance.normal(size=chunks.shape).astype(np.float32)) if noise else chunks @ rotation().T
    known = Known({f"ask {n}": asked[n] for n in range(things)}, {f"text {n}": chunks[n] for n in range(things)})
    rows = tuple((f"ask {n}", f"text {n}") for n in range(0, things, 2))
    dev = tuple(range(1, things, 2))
    search = DevSearch(
        tuple(f"ask {n}" for n in dev), tuple({n: 1.0} for n in dev), tuple(f"text {n}" for n in range(things)), tuple(f"q{n}" for n in dev)
    )
    return known, Examples(rows, labels=(1.0,) * len(rows)), search


def distance(made: Adapter) -> float:
    return float(np.abs(made.matrix - np.eye(DIMENSION)).max())


def test_a_rotation_that_the_base_lacks_is_learned() -> None:
    known, examples, search = turned_world(MANY)
    base = float(search.measure(known).mean())
    made = fit_adapter(known, examples, search, seed=0)
    assert made.matrix.shape == (DIMENSION, DIMENSION)
    assert made.matrix.dtype == np.float32
    assert base < 0.5
    assert made.dev.mean() > base + 0.3
    turned = made.matrix / np.linalg.norm(made.matrix, axis=1, keepdims=True)
    assert np.abs(turned - rotation().T).max() < 0.75 * np.abs(np.eye(DIMENSION) - rotation().T).max()
    asked, pool = known.encode_queries(search.queries), known.encode_documents(search.pool)
    assert made.dev.tolist() == search.score(search.rank_vectors(asked @ made.matrix.T, pool)).tolist()


def test_the_matrix_stays_near_the_identity_where_the_pull_is_strong() -> None:
    """Sixty passes of Adam at a thousandth can move an entry by 0.06 at most."""
    known, examples, search = turned_world(noise=True)
    made = fit_adapter(known, examples, search, seed=0)
    assert distance(made) < 0.1
    assert made.pull in PULLS
    assert made.passes in range(EVERY, PASSES + 1, EVERY)


def test_the_best_of_all_that_were_measured_is_taken_and_all_are_told() -> None:
    known, examples, search = turned_world()
    made = fit_adapter(known, examples, search, seed=0)
    assert len(made.every) == len(PULLS) * PASSES // EVERY
    assert made.dev.mean() == max(dev.mean() for dev in made.every)


def test_the_same_seed_gives_the_same_bytes() -> None:
    known, examples, search = turned_world()
    first, again = (fit_adapter(known, examples, search, seed=3) for _ in range(2))
    assert first.matrix.tobytes() == again.matrix.tobytes()
    assert (first.pull, first.passes) == (again.pull, again.passes)


def test_a_pair_without_trust_teaches_nothing() -> None:
    """The distrusted pairs are all wrong; with weight zero it is as if they weren't there."""
    known, examples, search = turned_world()
    wrong = tuple((row[0], examples.rows[place - 5][1]) for place, row in enumerate(examples.rows))
    weights = (1.0,) * len(examples.rows) + (0.0,) * len(wrong)
    distrusted = fit_adapter(known, Examples((*examples.rows, *wrong), labels=weights), search, seed=0)
    trusted = fit_adapter(known, Examples((*examples.rows, *wrong), labels=(1.0,) * len(weights)), search, seed=0)
    assert distrusted.dev.mean() >= trusted.dev.mean()
    assert not np.array_equal(distrusted.matrix, trusted.matrix)


def test_another_answer_of_the_same_query_is_no_rival() -> None:
    """Two answers of one query: neither is pushed away for the other's sake, so the loss of a perfect query is nothing."""
    from vecmigrate.training.adapter import _loss, _vectors

    chunks = {
        "yes": unit(np.array([1, 0.1], dtype=np.float32)),
        "also": unit(np.array([1, -0.1], dtype=np.float32)),
        "no": np.array([-1, 0], dtype=np.float32),
    }
    known = Known({"ask": np.array([1, 0], dtype=np.float32), "other": np.array([-1, 0], dtype=np.float32)}, chunks)
    rows = (("ask", "yes"), ("ask", "also"), ("other", "no"))
    import torch

    made = _vectors(known, Examples(rows, labels=(1.0, 1.0, 1.0)))
    assert float(_loss(made, torch.eye(2), torch.tensor([0, 1]))) == pytest.approx(0.0, abs=1e-6)
