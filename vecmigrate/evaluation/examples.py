"""The queries that changed most, with both answers: what a person looks at before signing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vecmigrate.evaluation.measures import Values
from vecmigrate.evaluation.result import Example, ShownChunk, Wanted
from vecmigrate.evaluation.searching import Answers
from vecmigrate.evaluation.statistics import TIE
from vecmigrate.evaluation.subject import CompareRequest, Subject
from vecmigrate.records import Chunk
from vecmigrate.store import Source

HITS_SHOWN = 5
WANTED_SHOWN = 3
LONGEST_TEXT = 400
"""Characters of a text that are kept."""

Scored = tuple[Answers, Values]
"""One side's answers, and the main measure of each query."""


def biggest_changes(
    source: Source, subject: Subject, request: CompareRequest, sides: tuple[Scored, Scored], most: int
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """The `most` biggest wins and the `most` biggest losses, biggest first, equals by the order of the queries. Ties are neither."""
    differences = sides[1][1] - sides[0][1]
    order = np.argsort(-differences, kind="stable")
    wins = [int(i) for i in order[:most] if differences[i] > TIE]
    losses = [int(i) for i in np.argsort(differences, kind="stable")[:most] if differences[i] < -TIE]
    texts = source.fetch(_named(subject, sides, wins + losses)) if request.show_texts else {}
    request.progress("reading examples", len(wins) + len(losses), len(wins) + len(losses))
    return tuple(_example(subject, sides, i, texts, request) for i in wins), tuple(
        _example(subject, sides, i, texts, request) for i in losses
    )


def _named(subject: Subject, sides: tuple[Scored, Scored], places: Sequence[int]) -> list[str]:
    ids: dict[str, None] = {}
    for i in places:
        for answers, _ in sides:
            ids.update(dict.fromkeys(answers.top[i][:HITS_SHOWN]))
        ids.update(dict.fromkeys(subject.relevant(i)[:WANTED_SHOWN]))
    return list(ids)


def _example(subject: Subject, sides: tuple[Scored, Scored], i: int, texts: Mapping[str, Chunk], request: CompareRequest) -> Example:
    (control, before), (candidate, after) = sides
    query, judged = subject.queries[i], subject.judged[i]
    return Example(
        query_id=query.id,
        text=_shortened(query.text) if request.show_texts else None,
        control_value=float(before[i]),
        candidate_value=float(after[i]),
        control=tuple(_shown(chunk, judged, texts) for chunk in control.top[i][:HITS_SHOWN]),
        candidate=tuple(_shown(chunk, judged, texts) for chunk in candidate.top[i][:HITS_SHOWN]),
        wanted=tuple(
            Wanted(_shown(chunk, judged, texts), _rank(chunk, control.top[i]), _rank(chunk, candidate.top[i]))
            for chunk in subject.relevant(i)[:WANTED_SHOWN]
        ),
    )


def _shown(chunk: str, judged: Mapping[str, float], texts: Mapping[str, Chunk]) -> ShownChunk:
    return ShownChunk(chunk, _shortened(texts[chunk].text) if chunk in texts else None, judged.get(chunk))


def _rank(chunk: str, top: Sequence[str]) -> int | None:
    return top.index(chunk) + 1 if chunk in top else None


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"
