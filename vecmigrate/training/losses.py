"""The losses: which there are, what data each needs, and how each reads embeddings that were made in groups (`grouping`).

loss                 data                                       source
ranking              pairs, with or without hard negatives      van den Oord et al. 2018 (InfoNCE)
symmetric-ranking    the same; chunks also tell their queries   Günther et al. 2024
guided               the same; the base vetoes false negatives  Solatorio 2024 (GIST)
triplet              pairs with a hard negative                 Schroff et al. 2015
cosent               graded judgments: the order of the grades  Su 2022
cosine               graded judgments: the grades themselves    Reimers and Gurevych 2019
margin-mse           pairs with a hard negative, and a teacher  Hofstätter et al. 2020
distillation         the same, any number of hard negatives     Lin et al. 2020 (KL divergence)

Any of them may be wrapped in Matryoshka dimensions (Kusupati et al. 2022), and computed with recomputed activations ("cached").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.losses.merged_forward import column_merging_disabled
from sentence_transformers.sentence_transformer import losses
from torch import Tensor
from torch.nn import functional

from vecmigrate.config import LossName
from vecmigrate.training.grouping import Pass

SCALE = 20.0
"""Cosines are multiplied by it before the softmax (a temperature of 0.05), as in the library."""
PAIRED: frozenset[LossName] = frozenset({"ranking", "symmetric-ranking", "guided", "triplet"})
GRADED: frozenset[LossName] = frozenset({"cosent", "cosine"})
TAUGHT: frozenset[LossName] = frozenset({"margin-mse", "distillation"})


@dataclass(frozen=True, slots=True)
class LossPlan:
    """What to minimise. `dims` are Matryoshka dimensions with a weight each; `layers` adds the layers below (2D: Li et al. 2024)."""

    name: LossName = "ranking"
    dims: tuple[int, ...] = ()
    weights: tuple[float, ...] = ()
    layers: bool = False
    scale: float = SCALE


class Ready(torch.nn.Module):
    """Stands in for the model in a library's loss: gives the embeddings of a column that are made already."""

    def __init__(self, model: SentenceTransformer) -> None:
        super().__init__()
        self._dimension = model.get_embedding_dimension()
        self._made: dict[int, Tensor] = {}

    def hold(self, columns: Sequence[dict[str, Any]], embedded: Sequence[Tensor]) -> None:
        """The embeddings of these columns."""
        self._made = {id(column): made for column, made in zip(columns, embedded, strict=True)}

    def forward(self, features: dict[str, Any]) -> dict[str, Tensor]:
        """What the model would answer."""
        return {"sentence_embedding": self._made[id(features)]}

    def get_embedding_dimension(self) -> int | None:
        """As the model's."""
        return self._dimension


class GroupedLoss(torch.nn.Module):
    """A loss whose texts are embedded in groups. Dropout is off: a short fine-tuning gains nothing by it, and its random numbers take
    13 to 20 % of a step on a processor.
    """

    def __init__(
        self, model: SentenceTransformer, plan: LossPlan, passing: Pass, *, guide: Guide | None = None, frozen: Guide | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.latest: float | None = None
        self._frozen = [frozen]
        self._pass = [passing]  # in a list, so that its copy of the model is no part of this module
        self._ready = Ready(model)
        self._whole = plan.layers  # needs the layers' outputs, which only the library's own way gives
        stand_in: Any = model if self._whole else self._ready
        inner = single_loss(stand_in, plan, guide)
        self._inner = _nested(stand_in, inner, plan) if plan.dims or plan.layers else inner

    def forward(self, sentence_features: Iterable[dict[str, Any]], labels: Tensor) -> Tensor:
        """The loss of the batch, a mean over its rows."""
        columns = list(sentence_features)
        self.model.eval()
        with column_merging_disabled():
            loss: Tensor = self._inner(columns, labels) if self._whole else self._of(columns, labels)
        self.latest = float(loss.detach())
        return loss

    def _of(self, columns: list[dict[str, Any]], labels: Tensor) -> Tensor:
        frozen = self._frozen[0]
        if frozen is None:
            self._ready.hold(columns, self._embed(columns))
        else:  # the query side alone is trained
            self._ready.hold(columns, [*self._embed(columns[:1]), *frozen.vectors(columns[1:])])
        loss: Tensor = self._inner(columns, labels)
        return loss

    def _embed(self, columns: list[dict[str, Any]]) -> list[Tensor]:
        embedded = self._pass[0].embed(columns) if self._here() else None
        return embedded or [self.model(dict(column))["sentence_embedding"] for column in columns]

    def _here(self) -> bool:
        """Whether the model is still the one that the groups go through, and not wrapped for several processes."""
        return self.model is self._pass[0].model


def single_loss(model: Any, plan: LossPlan, guide: Guide | None) -> torch.nn.Module:
    """The loss at full width."""
    made: torch.nn.Module
    match plan.name:
        case "ranking":
            made = RankingLoss(model, plan.scale)
        case "symmetric-ranking":
            made = RankingLoss(model, plan.scale, both_ways=True)
        case "guided":
            made = RankingLoss(model, plan.scale, guide=guide)
        case "triplet":
            made = losses.TripletLoss(model, distance_metric=losses.TripletDistanceMetric.COSINE, triplet_margin=0.2)
        case "cosent":
            made = losses.CoSENTLoss(model, scale=plan.scale)
        case "cosine":
            made = losses.CosineSimilarityLoss(model)
        case "margin-mse":
            made = losses.MarginMSELoss(model, similarity_fct=_scaled_cosine)
        case "distillation":
            made = losses.DistillKLDivLoss(model, similarity_fct=_scaled_cosine)
    return made


def _scaled_cosine(one: Tensor, other: Tensor) -> Tensor:
    """Cosine on the scale of a teacher's logits."""
    return SCALE * functional.cosine_similarity(one, other, dim=-1)


def _nested(model: Any, loss: torch.nn.Module, plan: LossPlan) -> torch.nn.Module:
    dims, weights = list(plan.dims), list(plan.weights or [1.0] * len(plan.dims))
    made: torch.nn.Module
    if plan.layers:
        made = losses.Matryoshka2dLoss(model, loss, dims or [model.get_embedding_dimension()], weights or [1.0])
    else:
        made = losses.MatryoshkaLoss(model, loss, dims, weights)
    return made


class RankingLoss(torch.nn.Module):
    """Softmax of a query's chunk among all chunks of the batch and its hard negatives, weighted by the trust in each pair.

    The library's multiple-negatives ranking loss, which knows no weights; equal weights give the same number. A guide removes from the
    softmax whatever it finds more similar to the query than the query's own chunk. Labels are the weights, shape (rows,).
    """

    def __init__(self, model: Any, scale: float = SCALE, *, both_ways: bool = False, guide: Guide | None = None) -> None:
        super().__init__()
        self.model = model
        self.scale = scale
        self.both_ways = both_ways
        self._guide = [guide]

    def forward(self, columns: list[dict[str, Any]], labels: Tensor) -> Tensor:
        """The weighted mean over the rows."""
        queries, *chunks = (functional.normalize(self.model(column)["sentence_embedding"].float(), dim=-1) for column in columns)
        scores = queries @ torch.cat(chunks).T * self.scale
        veto = self._veto(columns, len(queries))
        if veto is not None:
            scores = scores.masked_fill(veto, -torch.inf)
        weights = _shares(labels, len(queries), scores)
        loss = weights @ _of_own(scores)
        if self.both_ways:
            backwards = chunks[0] @ queries.T * self.scale
            if veto is not None:
                backwards = backwards.masked_fill(veto[:, : len(queries)].T, -torch.inf)
            loss = (loss + weights @ _of_own(backwards)) / 2
        return loss

    def _veto(self, columns: list[dict[str, Any]], rows: int) -> Tensor | None:
        guide = self._guide[0]
        if guide is None:
            return None
        queries, *chunks = guide.vectors(columns)
        similar = queries @ torch.cat(chunks).T
        own = similar[:, :rows].diagonal().unsqueeze(1)
        veto = similar > own
        veto[torch.arange(rows), torch.arange(rows)] = False
        return veto


def _of_own(scores: Tensor) -> Tensor:
    """Minus the log-probability that each row's own column, that of its number, comes out of the softmax."""
    return functional.cross_entropy(scores, torch.arange(len(scores), device=scores.device), reduction="none")


def _shares(labels: Tensor | None, rows: int, like: Tensor) -> Tensor:
    """Weights that sum to one."""
    if labels is None or labels.numel() != rows:
        return like.new_full((rows,), 1 / rows)
    weights = labels.to(like).flatten().clamp(min=0)
    return weights / weights.sum().clamp(min=torch.finfo(like.dtype).tiny)


@dataclass(slots=True)
class Guide:
    """A frozen model whose vectors are remembered by token ids: each text is embedded once in a training, however often it comes."""

    passing: Pass
    _known: dict[bytes, Tensor] = field(default_factory=dict)

    def vectors(self, columns: list[dict[str, Any]]) -> list[Tensor]:
        """Unit vectors of each column, shape (rows, dimension)."""
        if any("attention_mask" not in column for column in columns):
            return self._made(columns)
        keys = [_keys(column) for column in columns]
        for column, rows in zip(columns, keys, strict=True):
            self._learn(column, rows)
        return [torch.stack([self._known[key] for key in rows]) for rows in keys]

    def _learn(self, column: dict[str, Any], keys: list[bytes]) -> None:
        new = {key: place for place, key in enumerate(keys) if key not in self._known}
        if new:
            places = list(new.values())
            rows = {name: value[places] if isinstance(value, Tensor) else value for name, value in column.items()}
            self._known |= dict(zip(new, self._made([rows])[0], strict=True))

    def _made(self, columns: list[dict[str, Any]]) -> list[Tensor]:
        made = self.passing.look(columns)
        if made is None:
            with torch.no_grad():
                made = [self.passing.model(dict(column))["sentence_embedding"] for column in columns]
        return [functional.normalize(vectors.float(), dim=-1) for vectors in made]


def _keys(column: dict[str, Any]) -> list[bytes]:
    """What tells one row's text from another's."""
    task = str(column.get("task", "")).encode()
    rows = zip(column["input_ids"], column["attention_mask"].bool(), strict=True)
    return [task + ids[kept].cpu().numpy().tobytes() for ids, kept in rows]
