"""For frameworks that compare the query's vector once more with the vectors that were found, as maximal marginal relevance does.

A pinned query of a version that has been retired since is encoded anew inside the collection. That is right for the search, and wrong
for whoever still holds the first vector.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from vecmigrate.errors import WrongSpace
from vecmigrate.records import PinnedVector

if TYPE_CHECKING:
    from vecmigrate_chroma.collection import VersionedCollection

T = TypeVar("T")

ATTEMPTS = 3
"""Flips in a row that one search outlives."""


def in_one_space(collection: VersionedCollection, vector: Sequence[float], search: Callable[[Sequence[float], Mapping[str, str]], T]) -> T:
    """`search(vector, named)`, with `named` for `collection.query`: it answers from the vector's own space, or the text is encoded anew.

    A vector that says nothing of itself is handed on as it is. Raises `WrongSpace` when the pointer never stands still.
    """
    if not isinstance(vector, PinnedVector):
        return search(vector, {})
    for _ in range(ATTEMPTS - 1):
        try:
            return search(list(vector), {"fingerprint": vector.fingerprint})
        except WrongSpace:
            vector = collection.embed_query(vector.text)
    return search(list(vector), {"fingerprint": vector.fingerprint})
