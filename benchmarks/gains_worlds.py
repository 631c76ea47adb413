"""Shared sets as trainings see them: pairs, dev and test queries, and scores by brute force. For gains.py and training_speed.py."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vecmigrate.dataset.pairs import DevSet, TrainingPair
from vecmigrate.encoding.encoder import Encoder
from vecmigrate.records import Judgment, Query
from vecmigrate.training.devsearch import ndcg

SKIPPED_RANKS, LAST_RANK, SHARE = 4, 50, 0.95
DEV_SHARE, FEWEST_DEV, MOST_DEV = 0.15, 40, 300


@dataclass(frozen=True)
class World:
    """Texts by chunk and query id, grades by query and chunk, and the ids of the train, dev and test queries."""

    chunks: dict[str, str]
    queries: dict[str, dict[str, Any]]
    grades: dict[str, dict[str, float]]
    train: tuple[str, ...]
    dev: tuple[str, ...]
    test: tuple[str, ...]


def jsonl(file: Path) -> list[dict[str, Any]]:
    """The objects of a file."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def read_set(folder: Path) -> World:
    """The whole set, not divided yet."""
    chunks = {d["id"]: f"{d.get('title') or ''}\n{d['text']}".strip() for d in jsonl(folder / "corpus.jsonl")}
    queries = {q["id"]: q for q in jsonl(folder / "queries.jsonl")}
    grades: dict[str, dict[str, float]] = {}
    for line in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, chunk, grade = line.split("\t")[:3]
        if query in queries and chunk in chunks and float(grade) > 0:
            grades.setdefault(query, {})[chunk] = float(grade)
    return World(chunks, queries, grades, (), (), ())


def open_world(folder: Path, split: str, pairs: int, *, seed: int, tests: int = 2000) -> World:
    """The set divided: `time` (from 2023 on is test), `source` (a quarter of the sources is test), or `random` (a fifth is test).

    The test queries are the same for every seed; `seed` draws the training queries, of which a share becomes dev.
    """
    world = read_set(folder)
    ids = sorted(world.grades)
    if split == "time":
        test = [q for q in ids if world.queries[q]["created"] >= "2023"]
    elif split == "source":
        sources = sorted({world.queries[q]["source"] for q in ids})
        held = set(random.Random(0).sample(sources, len(sources) // 4))
        test = [q for q in ids if world.queries[q]["source"] in held]
    else:
        test = random.Random(0).sample(ids, len(ids) // 5)
    left = sorted(set(ids) - set(test))
    test = random.Random(0).sample(test, min(tests, len(test)))
    train = random.Random(seed).sample(left, min(pairs, len(left)))
    return divided(replace(world, train=tuple(train), test=tuple(test)), by_time=split == "time")


def divided(world: World, *, by_time: bool) -> World:
    """A share of the training queries, the latest where there are times, becomes dev."""
    train = sorted(world.train, key=lambda q: world.queries[q]["created"]) if by_time else list(world.train)
    count = min(MOST_DEV, max(FEWEST_DEV, round(DEV_SHARE * len(train))))
    return replace(world, train=tuple(train[:-count]), dev=tuple(train[-count:]))


def devset(world: World) -> DevSet:
    """The dev queries, searched in the whole corpus."""
    return DevSet(
        tuple(Query(q, world.queries[q]["text"], group=q) for q in world.dev),
        tuple(Judgment(q, chunk, grade) for q in world.dev for chunk, grade in world.grades[q].items()),
        world.chunks,
    )


def hard_pairs(world: World, encoder: Encoder, *, negatives: int, seed: int, of: Sequence[str] | None = None) -> list[TrainingPair]:
    """A pair for each training query and relevant chunk, with negatives out of the encoder's ranks 5 to 50, none as near as the answer."""
    asked = list(world.train if of is None else of)
    ids = list(world.chunks)
    place = {id: number for number, id in enumerate(ids)}
    chunks = unit(encoder.encode_documents(list(world.chunks.values())))
    vectors = unit(encoder.encode_queries([world.queries[q]["text"] for q in asked]))
    chance = random.Random(seed)
    made = []
    for query, vector in zip(asked, vectors, strict=True):
        similar = chunks @ vector
        near = [ids[n] for n in np.argsort(-similar)[SKIPPED_RANKS:LAST_RANK]]
        for chunk in world.grades[query]:
            limit = SHARE * similar[place[chunk]]
            fitting = [id for id in near if id not in world.grades[query] and similar[place[id]] <= limit]
            chosen = chance.sample(fitting, min(negatives, len(fitting)))
            texts = tuple(world.chunks[id] for id in chosen)
            made.append(TrainingPair(query, chunk, world.queries[query]["text"], world.chunks[chunk], texts))
    return made


def score(encoder: Encoder, world: World, queries: Sequence[str]) -> NDArray[np.float64]:
    """nDCG@10 of each query in the whole corpus."""
    chunks = unit(encoder.encode_documents(list(world.chunks.values())))
    asked = unit(encoder.encode_queries([world.queries[q]["text"] for q in queries]))
    place = {id: number for number, id in enumerate(world.chunks)}
    found = []
    for query, vector in zip(queries, asked, strict=True):
        first = np.argsort(-(chunks @ vector), kind="stable")[:10].tolist()
        found.append(ndcg(first, {place[id]: grade for id, grade in world.grades[query].items()}))
    return np.array(found)


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of length one."""
    normalised: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return normalised
