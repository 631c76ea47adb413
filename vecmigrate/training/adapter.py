"""The cheapest rung: a matrix after the base's query embedding. The chunks' vectors stay, so nothing is re-embedded or re-indexed.

    query ─► base ─► W ─┐
                        ├─► cosine          W starts as the identity and is pulled back to it
    chunk ─► base ──────┘

The softmax goes over every chunk that any pair names, not a batch's: vectors of the base are made once, so that a pass is a matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vecmigrate.encoding.encoder import Encoder
from vecmigrate.store import Vectors
from vecmigrate.training.devsearch import DevSearch, Scores
from vecmigrate.training.examples import Examples
from vecmigrate.training.losses import SCALE

RATE = 1e-3
PASSES = 60
EVERY = 5
ROWS = 256
PULLS = (1.0, 0.1, 0.01)
"""How strongly W is pulled to the identity: times the mean squared distance of its entries, in units of the dimension squared."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """The matrix, shape (dimension, dimension), the pull it was made with, its passes, and its dev scores by query; `every` holds the
    dev scores of all matrices that it was chosen from.
    """

    matrix: Vectors
    pull: float
    passes: int
    dev: Scores
    every: tuple[Scores, ...]


@dataclass(frozen=True, slots=True)
class _Vectors:
    queries: Tensor
    chunks: Tensor
    own: Tensor
    others: Tensor
    weights: Tensor


def fit_adapter(encoder: Encoder, examples: Examples, search: DevSearch, *, seed: int) -> Adapter:
    """The matrix with the best mean dev score over `PULLS` and passes."""
    made = _vectors(encoder, examples)
    asked, pool = encoder.encode_queries(search.queries), encoder.encode_documents(search.pool)
    fitted = [(pull, passes, matrix) for pull in PULLS for passes, matrix in _fit(made, pull, seed)]
    every = tuple(search.score(search.rank_vectors(asked @ matrix.T, pool)) for _, _, matrix in fitted)
    best = int(np.argmax([dev.mean() for dev in every]))
    pull, passes, matrix = fitted[best]
    return Adapter(matrix, pull, passes, every[best], every)


def _vectors(encoder: Encoder, examples: Examples) -> _Vectors:
    texts = sorted({text for row in examples.rows for text in row[1:]})
    place = {text: number for number, text in enumerate(texts)}
    answers: dict[str, set[int]] = {}
    for row in examples.rows:
        answers.setdefault(row[0], set()).add(place[row[1]])
    others = torch.zeros(len(examples.rows), len(texts), dtype=torch.bool)
    for number, row in enumerate(examples.rows):
        others[number, sorted(answers[row[0]] - {place[row[1]]})] = True
    return _Vectors(
        queries=torch.from_numpy(encoder.encode_queries([row[0] for row in examples.rows])),
        chunks=functional.normalize(torch.from_numpy(encoder.encode_documents(texts)), dim=-1),
        own=torch.tensor([place[row[1]] for row in examples.rows]),
        others=others,
        weights=torch.tensor(examples.labels or [1.0] * len(examples.rows), dtype=torch.float32),
    )


def _fit(made: _Vectors, pull: float, seed: int) -> Sequence[tuple[int, Vectors]]:
    """The matrix after every few passes."""
    chance = torch.Generator().manual_seed(seed)
    identity = torch.eye(made.queries.shape[1])
    matrix = identity.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([matrix], lr=RATE)
    found = []
    for number in range(1, PASSES + 1):
        for rows in torch.split(torch.randperm(len(made.queries), generator=chance), ROWS):
            loss = _loss(made, matrix, rows) + pull * ((matrix - identity) ** 2).sum() / len(identity)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        if number % EVERY == 0:
            found.append((number, matrix.detach().numpy().astype(np.float32).copy()))
    return found


def _loss(made: _Vectors, matrix: Tensor, rows: Tensor) -> Tensor:
    asked = functional.normalize(made.queries[rows] @ matrix.T, dim=-1)
    scores = (asked @ made.chunks.T * SCALE).masked_fill(made.others[rows], -torch.inf)
    weights = made.weights[rows]
    each = functional.cross_entropy(scores, made.own[rows], reduction="none")
    return (weights @ each) / weights.sum().clamp(min=1e-9)
