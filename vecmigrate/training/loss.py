"""Multiple-negatives ranking loss whose texts go through the model sorted by length, a share on each core.

The library pads queries to the width of the longest chunk and runs the batch as one. Here the rows of all columns are cut to their own
lengths and grouped; on a processor each worker takes a fixed half (or third …) forward and back, and the gradients are added in a fixed
order, so that the same data and seed give the same bits. Loss and gradients are the library's.

    columns ─► rows by length ─► groups ─► worker 0: embed … backward ─┐
                                       └─► worker 1: embed … backward ─┴─► sum
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from torch import Tensor

from vecmigrate.encoding.batching import plan_batches
from vecmigrate.encoding.workers import Workers

TOKENS_PER_GROUP = 2048
_ROWWISE = frozenset({"input_ids", "attention_mask", "token_type_ids"})


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of one width that go through the model together; `rows` are their places in the batch of all columns."""

    rows: Tensor
    features: dict[str, Any]

    @property
    def tokens(self) -> int:
        """What the group costs."""
        return int(self.features["input_ids"].numel())


class SortedRankingLoss(MultipleNegativesRankingLoss):
    """The library's loss, embedding in groups of like length. Dropout is off: a short fine-tuning gains nothing by it, and its random
    numbers take 13 to 20 % of a step on a processor.
    """

    def __init__(self, model: SentenceTransformer, *, workers: Workers | None, scale: float = 20.0) -> None:
        super().__init__(model, scale=scale)
        self._workers = workers
        self.latest: float | None = None

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor) -> Tensor:
        """The mean loss of the batch; see the library's class."""
        loss = self._loss(list(sentence_features), labels)
        self.latest = float(loss.detach())
        return loss

    def _loss(self, columns: list[dict[str, Tensor]], labels: Tensor) -> Tensor:
        self.model.eval()
        groups = group_rows(columns)
        if groups is None:
            library: Tensor = super().forward(columns, labels)
            return library
        rows = torch.cat([group.rows for group in groups])
        embedded = self._embed(groups)[torch.argsort(rows)]
        return self.compute_loss_from_embeddings(list(embedded.chunk(len(columns))), labels)

    def _embed(self, groups: Sequence[Group]) -> Tensor:
        if self._workers is None:
            return torch.cat([_embed_group(self.model, group) for group in groups])
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        embedded: Tensor = _Parallel.apply(self.model, groups, self._workers, *parameters)  # type: ignore[no-untyped-call]
        return embedded


def group_rows(columns: Sequence[dict[str, Any]]) -> list[Group] | None:
    """The rows of all columns (first all of column 0, then of column 1 …) in groups of like length, each cut to its longest row.

    None where the columns hold more than padded tokens, or are not alike: then the library embeds them its own way.
    """
    names = {name for name, value in columns[0].items() if isinstance(value, Tensor)}
    rest = {name: value for name, value in columns[0].items() if name not in names}
    alike = all(
        {n for n, v in c.items() if isinstance(v, Tensor)} == names and all(c.get(n) == v for n, v in rest.items()) for c in columns
    )
    if not alike or not names <= _ROWWISE or "attention_mask" not in names:
        return None
    masks = [column["attention_mask"] for column in columns]
    left = any(bool((mask[:, -1] == 0).any()) is False and bool((mask[:, 0] == 0).any()) for mask in masks)
    lengths = torch.cat([mask.sum(dim=1) for mask in masks])
    batches = plan_batches(lengths.cpu().numpy().astype(np.int64), budget=TOKENS_PER_GROUP, multiple=1, longest=None)
    wide = {name: _stacked([column[name] for column in columns], left) for name in sorted(names)}
    groups = []
    for batch in batches:
        rows = torch.from_numpy(batch.rows).to(lengths.device)
        cut = slice(-batch.width, None) if left else slice(batch.width)
        groups.append(Group(rows, {**{name: value[rows][:, cut] for name, value in wide.items()}, **rest}))
    return groups


def _stacked(values: Sequence[Tensor], left: bool) -> Tensor:
    """The columns under each other, padded to one width on the tokenizer's side. What the padding holds is masked."""
    width = max(value.shape[1] for value in values)
    missing = [width - value.shape[1] for value in values]
    pads = [(gap, 0) if left else (0, gap) for gap in missing]
    return torch.cat([torch.nn.functional.pad(value, pad) for value, pad in zip(values, pads, strict=True)])


def _embed_group(model: torch.nn.Module, group: Group) -> Tensor:
    embedded: Tensor = model(dict(group.features))["sentence_embedding"]
    return embedded


def shares(groups: Sequence[Group], count: int) -> list[list[int]]:
    """The groups' places dealt to `count` workers, the costliest first to whoever has least: always the same for the same groups."""
    dealt: list[list[int]] = [[] for _ in range(count)]
    load = [0] * count
    for place in sorted(range(len(groups)), key=lambda p: (-groups[p].tokens, p)):
        worker = load.index(min(load))
        dealt[worker].append(place)
        load[worker] += groups[place].tokens
    return dealt


class _Parallel(torch.autograd.Function):
    """Embed the groups on the workers, each with a graph of its own, which its worker also goes back through."""

    @staticmethod
    def forward(ctx: Any, model: torch.nn.Module, groups: Sequence[Group], workers: Workers, *parameters: Tensor) -> Tensor:
        embedded: list[Tensor] = [torch.empty(0)] * len(groups)

        def work(places: list[int]) -> None:
            with torch.enable_grad():
                for place in places:
                    embedded[place] = _embed_group(model, groups[place])

        ctx.dealt = [places for places in shares(groups, workers.count) if places]
        workers.each(work, ctx.dealt)
        ctx.embedded, ctx.workers, ctx.parameters = embedded, workers, parameters
        return torch.cat([part.detach() for part in embedded])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        parts = torch.split(grads[0], [len(part) for part in ctx.embedded])
        found: list[Sequence[Tensor | None]] = [()] * len(ctx.dealt)

        def work(worker: int) -> None:
            places = ctx.dealt[worker]
            found[worker] = torch.autograd.grad(
                [ctx.embedded[place] for place in places], ctx.parameters, [parts[place] for place in places], allow_unused=True
            )

        ctx.workers.each(work, range(len(ctx.dealt)))
        ctx.embedded = None
        return None, None, None, *(_summed(column) for column in zip(*found, strict=True))


def _summed(parts: Sequence[Tensor | None]) -> Tensor | None:
    there = [part for part in parts if part is not None]
    if not there:
        return None
    total = there[0]
    for part in there[1:]:
        total = total + part
    return total
