"""The cross-encoder's word on candidates: only what is drawn is scored, round by round, until each pair has its negatives.

The idea is that of RocketQA (Qu et al., NAACL 2021), where a cross-encoder takes the false negatives out of what a retriever finds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vecmigrate.dataset.cross_encoder import PairScorer
from vecmigrate.dataset.drafting import Candidate, Draft
from vecmigrate.dataset.mining_report import Tally
from vecmigrate.dataset.searching import Searched

NO_TEXT = "no text for the cross-encoder to read"


def choose(searched: Searched, drafts: Sequence[Draft], tally: Tally) -> None:
    """Give every draft its negatives out of what it has left, after the cross-encoder where there is one."""
    if searched.scorer is not None:
        _Rounds(searched, searched.scorer, tally).run(drafts)
        return
    for draft in drafts:
        for candidate in draft.left[: searched.settings.negatives_per_pair - len(draft.chosen)]:
            draft.take(candidate, tally)


class _Rounds:
    """Scores the next candidates of all pairs together, so that the model gets full batches."""

    def __init__(self, searched: Searched, scorer: PairScorer, tally: Tally) -> None:
        self._searched = searched
        self._scorer = scorer
        self._tally = tally
        self._share = searched.settings.negative_filter_share

    def run(self, drafts: Sequence[Draft]) -> None:
        """Until each draft has enough or nothing is left."""
        short = [draft for draft in drafts if self._missing(draft) and draft.left]
        scores = self._scores([(draft.query, draft.judgment.chunk_id) for draft in short])
        limits = {id(draft): self._share * score for draft, score in zip(short, scores, strict=True) if score is not None}
        for draft in short:
            if id(draft) not in limits:
                self._tally.skipped[NO_TEXT] += len(draft.left)
                draft.left.clear()
        while drawn := list(self._draw(short)):
            scores = self._scores([(draft.query, candidate.id) for draft, candidate in drawn])
            for (draft, candidate), score in zip(drawn, scores, strict=True):
                self._decide(draft, candidate, score, limits[id(draft)])

    def _missing(self, draft: Draft) -> int:
        return self._searched.settings.negatives_per_pair - len(draft.chosen)

    def _draw(self, drafts: Sequence[Draft]) -> Iterator[tuple[Draft, Candidate]]:
        for draft in drafts:
            count = self._missing(draft)
            drawn, draft.left = draft.left[:count], draft.left[count:]
            yield from ((draft, candidate) for candidate in drawn)

    def _decide(self, draft: Draft, candidate: Candidate, score: float | None, limit: float) -> None:
        if score is None:
            self._tally.skipped[NO_TEXT] += 1
        elif score >= limit:
            self._tally.skipped[f"at least {self._share:g} times its relevant chunk's score by {self._scorer.name}"] += 1
        else:
            draft.take(candidate, self._tally)

    def _scores(self, asked: Sequence[tuple[str, str]]) -> list[float | None]:
        """For each query and chunk id; None where the chunk's text is gone."""
        texts = self._searched.texts(sorted({id for _, id in asked}))
        scores = iter(self._scorer.score([(query, texts[id]) for query, id in asked if id in texts]).tolist())
        return [next(scores) if id in texts else None for _, id in asked]
