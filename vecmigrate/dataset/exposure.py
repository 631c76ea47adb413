"""Which test queries a model has met in training: earlier rounds split another log, so what is a test query now may have been trained on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from vecmigrate.dataset.frozen import Dataset
from vecmigrate.dataset.grouping import group_queries
from vecmigrate.dataset.splitting import Split
from vecmigrate.records import Query


def met_in_training(queries: Sequence[Query], datasets: Iterable[Dataset]) -> frozenset[str]:
    """The ids of those queries of which a like wording (`group_queries`) is a training or dev query of one of the datasets."""
    used = [query for dataset in datasets for split in (Split.TRAIN, Split.DEV) for query in dataset.queries(split)]
    grouped, _ = group_queries([*(replace(query, group="") for query in queries), *used])
    met = {query.group for query in grouped[len(queries) :]}
    return frozenset(query.id for query in grouped[: len(queries)] if query.group in met)
