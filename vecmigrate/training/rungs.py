"""What can be tuned, the cheapest first: a matrix on the query side, the query encoder alone, or the whole model.

rung       trains                 the chunks' vectors        what a cutover needs
adapter    a matrix, in seconds   stay                       nothing: the version shares the vectors that are there
query      the query encoder      stay                       nothing
full       one encoder for both   are made anew              a re-index beside the live one
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense
from sentence_transformers.sentence_transformer.modules import Router

from vecmigrate.config import RungName
from vecmigrate.encoding.encoder import Encoder
from vecmigrate.encoding.loading import quiet_bars
from vecmigrate.encoding.sentence_transformer import SentenceTransformerEncoder
from vecmigrate.store import Vectors
from vecmigrate.training.adapter import fit_adapter
from vecmigrate.training.attempts import Attempt, Attempts
from vecmigrate.training.blending import SHARES, Blend, between, blends, choose, mean_weights, weights_of
from vecmigrate.training.devsearch import DevSearch, Places, Scores
from vecmigrate.training.fit import Fitting, Measure, make_pass
from vecmigrate.training.reach import merged
from vecmigrate.training.request import Verdict
from vecmigrate.training.verdict import CONFIDENCE, Finding, cross_fitted, exchanged, judge, luck

SOUP_WITHIN = 0.02
"""Attempts whose dev score is this near the best one's take part in the mean of their weights."""


@dataclass(frozen=True, slots=True)
class Climbed:
    """One rung: the model's directory, what was found, its dev scores, and the figures for its record."""

    rung: RungName
    files: Path
    finding: Finding
    dev: Scores
    probe: float | None
    seconds: float
    told: Mapping[str, Any] = field(default_factory=dict)
    resumed_at: int | None = None


@dataclass(frozen=True, slots=True)
class Ground:
    """What the rungs share: the base's encoder as it is measured (maybe in bfloat16; `fitting` has the exact one), the dev queries, the
    general probe, and the base's scores on both.
    """

    fitting: Fitting
    base: SentenceTransformerEncoder
    probe: DevSearch | None
    base_dev: Scores
    base_probe: float | None

    @property
    def floor(self) -> float | None:
        """What the probe must not fall below."""
        return None if self.base_probe is None else self.base_probe - self.fitting.settings.probe_margin

    @property
    def groups(self) -> tuple[str, ...]:
        """The dev queries' groups."""
        return self.fitting.search.groups


def climb_adapter(ground: Ground, clock: Callable[[], float]) -> Climbed:
    """Fit the matrix, go back towards the identity where that is better or does less harm, and write the router that holds it."""
    fitting, search = ground.fitting, ground.fitting.search
    start = clock()
    made = fit_adapter(ground.base, fitting.examples, search, seed=fitting.settings.seed)
    plain_dev, plain_probe = _Known(ground.base, search), None if ground.probe is None else _Known(ground.base, ground.probe)

    def at(share: float) -> Blend:
        matrix = _towards(made.matrix, share)
        probe = None if plain_probe is None else float(np.mean(plain_probe.scores(matrix)))
        return Blend(share, plain_dev.scores(matrix), probe)

    tried = blends(at, SHARES[1:] if fitting.settings.interpolate else (), ground.floor, at(1.0))
    blend = choose(tried, ground.floor) or tried[-1]
    matrix = _towards(made.matrix, blend.share)
    files = save(with_matrix(fitting.pipeline, matrix), fitting.run.path / "adapter")
    chosen = _Chosen(blend.dev, (*made.every, *(one.dev for one in tried)), plain_dev.rank(matrix), blend.probe)
    told = {"pull": made.pull, "passes": made.passes, "share": blend.share, "blends": _plain(tried)}
    return Climbed("adapter", files, _found(ground, chosen, share=blend.share), blend.dev, blend.probe, clock() - start, told)


def _towards(matrix: Vectors, share: float) -> Vectors:
    """The matrix, `share` of the way from the identity."""
    identity = np.eye(len(matrix), dtype=np.float32)
    made: Vectors = identity + np.float32(share) * (matrix - identity)
    return made


def _plain(tried: Sequence[Blend]) -> list[dict[str, Any]]:
    return [{"share": one.share, "dev": one.score, "probe": one.probe} for one in tried]


def climb(
    ground: Ground, attempts: Attempts, outcome: tuple[Sequence[Attempt], int | None], clock: Callable[[], float], rung: RungName
) -> Climbed:
    """Blend the best of the attempts with the base, and write the model."""
    start = clock()
    made, resumed = outcome
    spent = sum(one.history.seconds for one in made)
    tuned = _Tuned(ground, attempts, rung)
    blend, tried, souped = tuned.blended(made)
    files = tuned.write(blend, ground.fitting.run.path / rung)
    every = [np.array(scores) for one in made for _, scores in one.history.every]
    chosen = _Chosen(blend.dev, (*every, *(one.dev for one in tried)), tuned.rank(), blend.probe)
    finding = _found(ground, chosen, share=blend.share)
    told = {
        "attempts": [_told(one) for one in made],
        "mean_of": souped,
        "share": blend.share,
        "blends": _plain(tried),
    }
    return Climbed(rung, files, finding, blend.dev, blend.probe, spent + clock() - start, told, resumed)


def _told(attempt: Attempt) -> dict[str, Any]:
    history = attempt.history
    return {
        "loss": attempt.trial.loss,
        "learning_rate": attempt.trial.learning_rate,
        "epochs": attempt.trial.epochs,
        "round": attempt.trial.round,
        "step": history.best_step,
        "steps": history.last_step,
        "dev": attempt.outcome.score,
        "seconds": history.seconds,
        "history": [[0, float(np.mean(history.base))], *([step, score] for step, score in history.steps)],
        "notes": list(attempt.notes),
    }


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The chosen model's dev scores, those of all it was chosen from, its rankings, and its score on the probe."""

    dev: Scores
    every: Sequence[Scores]
    ranked: Any
    probe: float | None


def _found(ground: Ground, chosen: _Chosen, share: float = 1.0) -> Finding:
    """The verdict on the chosen model. Where harmlessness chose another than the dev queries would have, the estimate moves with it."""
    search = ground.fitting.search
    candidates = np.vstack([*chosen.every, chosen.dev])
    best = candidates[int(np.argmax(candidates.mean(axis=1)))]
    fitted = cross_fitted(ground.base_dev, candidates, ground.groups) + (chosen.dev - best)
    popular = (exchanged(search, search.rank(ground.base)), exchanged(search, chosen.ranked))
    against = [*_harm(ground, chosen.probe), *_luck(luck(ground.base_dev, chosen.dev, candidates, ground.groups), len(candidates))]
    return judge(ground.base_dev, fitted, popular, ground.groups, share=share, against=against)


def _harm(ground: Ground, probe: float | None) -> list[str]:
    """What to say of the score on the probe; nothing where it is above the floor."""
    if ground.base_probe is None or ground.floor is None or probe is None or probe >= ground.floor:
        return []
    return [f"it harms: nDCG@10 on the general probe falls from {ground.base_probe:.3f} to {probe:.3f}"]


def _luck(chance: float, candidates: int) -> list[str]:
    if chance < (1 - CONFIDENCE) / 2:
        return []
    return [f"luck alone would find as good a best among {candidates} candidates {chance:.0%} of the time"]


class _Tuned:
    """The tuned weights of the attempts, measured and written at any share."""

    def __init__(self, ground: Ground, attempts: Attempts, rung: RungName) -> None:
        self._ground = ground
        fresh = attempts.fresh_encoder()
        self._encoder = fresh.through(merged(fresh.pipeline).requires_grad_(True))  # plain weights, every one of them measured
        fitting = ground.fitting
        self._measure = Measure(fitting, make_pass(fitting, self._encoder.pipeline), self._encoder)
        self._base = weights_of(self._encoder.pipeline)
        self._rung = rung
        self._tuned: Mapping[str, torch.Tensor] = self._base

    def blended(self, made: Sequence[Attempt]) -> tuple[Blend, tuple[Blend, ...], int]:
        """The chosen blend, all that were measured, and of how many attempts the tuned weights are the mean."""
        ranked = sorted(made, key=lambda one: one.outcome.score, reverse=True)
        near = [one for one in ranked if one.outcome.score >= ranked[0].outcome.score - SOUP_WITHIN]
        souped = 1
        self._tuned = self._weights(ranked[0])
        tried = [self._at(1.0)]
        if len(near) > 1:
            alone, self._tuned = self._tuned, mean_weights([self._weights(one) for one in near])
            mixed = self._at(1.0)
            tried.append(mixed)
            if mixed.score > tried[0].score:
                souped = len(near)
            else:
                self._tuned = alone
        chosen_end = tried[-1] if souped > 1 else tried[0]
        settings = self._ground.fitting.settings
        shares = SHARES[1:] if settings.interpolate else ()
        on_the_way = blends(self._at, shares, self._ground.floor, chosen_end)
        chosen = choose(on_the_way, self._ground.floor) or on_the_way[-1]
        self._load(chosen.share)
        return chosen, (*tried, *on_the_way[1:]), souped

    def _weights(self, attempt: Attempt) -> Mapping[str, torch.Tensor]:
        with quiet_bars():
            return weights_of(SentenceTransformer(str(attempt.best), device=str(self._encoder.pipeline.device)))

    def _load(self, share: float) -> None:
        self._encoder.pipeline.load_state_dict(between(self._base, self._tuned, share))
        self._measure.refresh()

    def _at(self, share: float) -> Blend:
        self._load(share)
        probe = None if self._ground.probe is None else float(np.mean(self._measure.of(self._ground.probe)))
        return Blend(share, np.array(self._measure()), probe)

    def rank(self) -> Any:
        """The dev rankings of the weights that are loaded."""
        return self._measure.rank()

    def write(self, blend: Blend, folder: Path) -> Path:
        """Save the model of this blend."""
        self._load(blend.share)
        pipeline = self._encoder.pipeline
        if self._rung == "query":
            pipeline = with_query_side(self._ground.fitting.pipeline, pipeline)
        return save(pipeline, folder)


class QuerySide:
    """A tuned query encoder with the base's chunks: what its space really holds, when hard negatives are mined in it."""

    def __init__(self, tuned: Encoder, base: Encoder) -> None:
        self.model = tuned.model
        self._tuned = tuned
        self._base = base

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """See `Encoder.encode_queries`."""
        return self._tuned.encode_queries(texts)

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """See `Encoder.encode_documents`."""
        return self._base.encode_documents(texts)

    def count_truncated(self, texts: Sequence[str]) -> int:
        """See `Encoder.count_truncated`."""
        return self._base.count_truncated(texts)


class _Known:
    """A search whose vectors by the base are made once: what a matrix on the query side does to it is then a matrix product."""

    def __init__(self, base: Encoder, search: DevSearch) -> None:
        self._search = search
        self._queries = base.encode_queries(search.queries)
        self._pool = base.encode_documents(search.pool)

    def rank(self, matrix: Vectors) -> Places:
        """The first ten of each query."""
        return self._search.rank_vectors(self._queries @ matrix.T, self._pool)

    def scores(self, matrix: Vectors) -> Scores:
        """nDCG@10 of each query."""
        return self._search.score(self.rank(matrix))


def with_matrix(base: SentenceTransformer, matrix: Any) -> SentenceTransformer:
    """A pipeline whose queries go on through the matrix, and whose documents are the base's."""
    dense = Dense(matrix.shape[1], matrix.shape[0], bias=False, activation_function=torch.nn.Identity())
    with torch.no_grad():
        dense.linear.weight.copy_(torch.from_numpy(matrix))
    parts = list(base.children())
    return _routed(base, [*parts, dense], parts)


def with_query_side(base: SentenceTransformer, tuned: SentenceTransformer) -> SentenceTransformer:
    """A pipeline whose queries go through the tuned model, and whose documents are the base's."""
    return _routed(base, list(tuned.children()), list(base.children()))


def _routed(base: SentenceTransformer, queries: list[Any], documents: list[Any]) -> SentenceTransformer:
    router = Router.for_query_document(query_modules=queries, document_modules=documents)
    return SentenceTransformer(modules=[router], prompts={name: text or "" for name, text in base.prompts.items()}, device=str(base.device))


def save(pipeline: SentenceTransformer, folder: Path) -> Path:
    """Write the model; it is there whole or not at all."""
    draft = folder.with_name(f".{folder.name}.part")
    for leftover in (draft, folder):
        shutil.rmtree(leftover, ignore_errors=True)
    with quiet_bars():
        pipeline.save_pretrained(str(draft), create_model_card=False)
    draft.replace(folder)
    return folder


def passed(climbed: Climbed) -> bool:
    """Whether the rung is worth climbing."""
    return climbed.finding.verdict is not Verdict.KEEP_BASE
