"""Which texts go through the model together: sorted by length, as many as a budget of tokens allows. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Batch:
    """Places of texts within the window, and the number of tokens each is padded to."""

    rows: Indices
    width: int


def plan_batches(lengths: Indices, *, budget: int, multiple: int, longest: int | None) -> list[Batch]:
    """Batches in which rows × width is at most `budget` (a longer text goes alone), longest texts first, so that two workers end together.

    `lengths` are token counts, shape (n,); widths are multiples of `multiple`, never over `longest`. Equal lengths keep their order,
    so the same texts always give the same batches.
    """
    order = np.argsort(-lengths, kind="stable").astype(np.int64)
    batches = []
    start = 0
    while start < len(order):
        width = _padded(int(lengths[order[start]]), multiple, longest)
        rows = order[start : start + max(1, budget // width)]
        batches.append(Batch(rows, width))
        start += len(rows)
    return batches


def _padded(length: int, multiple: int, longest: int | None) -> int:
    width = -(-max(length, 1) // multiple) * multiple
    return max(length, width if longest is None else min(width, longest), 1)
