"""Texts through the model while it trains: sorted by length, a share on each core, in bfloat16 where the processor has it.

    columns ─► rows by length ─► groups ─► worker 0: embed … backward ─┐
                                       └─► worker 1: embed … backward ─┴─► sum ─► float32 gradients of the model

The library pads queries to the width of the longest chunk and runs a batch as one. Here the rows of all columns are cut to their own
lengths and grouped; on a processor each worker takes a fixed share forward and back, and the gradients are added in a fixed order, so
that the same data and seed give the same bits. In bfloat16 the groups go through a copy of the model, which takes over the float32
weights before each step: what the optimizer adds is never rounded away.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor

from vecmigrate.encoding.batching import plan_batches
from vecmigrate.encoding.sentence_transformer import pool_in_float32

TOKENS_PER_GROUP = 4096
"""Measured on a CPU: 2,048 tokens cost a tenth more (each group brings a gradient of the whole vocabulary), 8,192 page faults."""
_ROWWISE = frozenset({"input_ids", "attention_mask", "token_type_ids"})

Columns = Sequence[dict[str, Any]]


class Crew(Protocol):
    """Who takes the groups: the worker threads, or the caller's own thread."""

    count: int

    def each(self, work: Callable[[Any], None], items: Iterable[Any]) -> None:
        """Do the work for every item; see `Workers.each`."""
        ...


class Alone:
    """One worker, in the caller's own thread: what a GPU wants."""

    count = 1

    def each(self, work: Callable[[Any], None], items: Iterable[Any]) -> None:
        """Do the work for every item, one after the other."""
        for item in items:
            work(item)


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of one width that go through the model together; `rows` are their places in the batch of all columns."""

    rows: Tensor
    features: dict[str, Any]

    @property
    def tokens(self) -> int:
        """What the group costs."""
        return int(self.features["input_ids"].numel())


@dataclass(slots=True)
class Pass:
    """How groups go through a model. `recompute` keeps no activations: each group goes forward again on the way back, so that memory
    holds one group's at a time, whatever the batch (gradient caching: Gao et al. 2021).
    """

    model: SentenceTransformer
    crew: Crew
    low_precision: bool = False
    recompute: bool = False
    tokens_per_group: int = TOKENS_PER_GROUP
    _through: SentenceTransformer | None = field(default=None, repr=False)

    @property
    def trained(self) -> Sequence[Tensor]:
        """The weights that are trained, in a fixed order."""
        return [p for p in self.model.parameters() if p.requires_grad]

    @property
    def through(self) -> SentenceTransformer:
        """What the groups go through: the model, or its copy in bfloat16."""
        if not self.low_precision:
            return self.model
        if self._through is None:
            self._through = in_bfloat16(self.model)
        return self._through

    def refresh(self) -> Sequence[Tensor]:
        """The weights that gradients are taken of, brought up to date."""
        mine = [p for p in self.through.parameters() if p.requires_grad]
        if self.low_precision:
            with torch.no_grad():
                for low, full in zip(mine, self.trained, strict=True):
                    low.copy_(full)
        return mine

    def embed(self, columns: Columns) -> list[Tensor] | None:
        """The embeddings of each column, shape (rows, dimension), with gradients; None where the columns can't be grouped."""
        groups = group_rows(columns, self.tokens_per_group)
        if groups is None:
            return None
        embedded: Tensor = _Embedding.apply(self, groups, *self.trained)  # type: ignore[no-untyped-call]
        return _in_order(embedded, groups, len(columns))

    @torch.no_grad()
    def look(self, columns: Columns) -> list[Tensor] | None:
        """As `embed`, without gradients."""
        groups = group_rows(columns, self.tokens_per_group)
        if groups is None:
            return None
        found: list[Tensor] = [torch.empty(0)] * len(groups)

        def work(place: int) -> None:
            with torch.no_grad():
                found[place] = _embed_group(self.through, groups[place])

        self.crew.each(work, range(len(groups)))
        return _in_order(torch.cat(found), groups, len(columns))


def in_bfloat16(model: SentenceTransformer) -> SentenceTransformer:
    """A copy of the pipeline that computes in 16 bits, and pools and normalises in 32."""
    twin = copy.deepcopy(model)
    next(twin.children()).to(torch.bfloat16)
    pool_in_float32(twin)
    return twin.eval()


def _in_order(embedded: Tensor, groups: Sequence[Group], columns: int) -> list[Tensor]:
    rows = torch.cat([group.rows for group in groups])
    return list(embedded[torch.argsort(rows)].chunk(columns))


def group_rows(columns: Columns, tokens: int = TOKENS_PER_GROUP) -> list[Group] | None:
    """The rows of all columns (first all of column 0, then of column 1 …) in groups of like length, each cut to its longest row.

    Columns that say different things beside their tokens (a router's task, a prompt's length) share no group. None where a column holds
    more than padded tokens: then the library embeds them its own way.
    """
    if not all(_tensors(column) <= _ROWWISE and "attention_mask" in column for column in columns):
        return None
    sizes = [len(column["attention_mask"]) for column in columns]
    starts = [sum(sizes[:place]) for place in range(len(columns))]
    groups = []
    for places in _alike(columns):
        rows = torch.cat([torch.arange(starts[place], starts[place] + sizes[place]) for place in places])
        groups += _grouped([columns[place] for place in places], rows, tokens)
    return groups


def _tensors(column: dict[str, Any]) -> set[str]:
    return {name for name, value in column.items() if isinstance(value, Tensor)}


def _alike(columns: Columns) -> list[list[int]]:
    """The places of the columns that can share groups."""
    kinds: list[tuple[Any, list[int]]] = []
    for place, column in enumerate(columns):
        told = (_tensors(column), {name: value for name, value in column.items() if not isinstance(value, Tensor)})
        same = next((places for kind, places in kinds if kind == told), None)
        if same is None:
            kinds.append((told, [place]))
        else:
            same.append(place)
    return [places for _, places in kinds]


def _grouped(columns: Columns, numbers: Tensor, tokens: int) -> list[Group]:
    """The groups of columns that are alike; `numbers` are their rows' places in the whole."""
    masks = [column["attention_mask"] for column in columns]
    left = any(bool((mask[:, -1] == 0).any()) is False and bool((mask[:, 0] == 0).any()) for mask in masks)
    lengths = torch.cat([mask.sum(dim=1) for mask in masks])
    wide = {name: _stacked([column[name] for column in columns], left) for name in sorted(_tensors(columns[0]))}
    rest = {name: value for name, value in columns[0].items() if name not in wide}
    groups = []
    for batch in plan_batches(lengths.cpu().numpy().astype(np.int64), budget=tokens, multiple=1, longest=None):
        rows = torch.from_numpy(batch.rows).to(lengths.device)
        cut = slice(-batch.width, None) if left else slice(batch.width)
        groups.append(Group(numbers.to(rows.device)[rows], {**{name: value[rows][:, cut] for name, value in wide.items()}, **rest}))
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


class _Embedding(torch.autograd.Function):
    """Embed the groups on the workers, each with a graph of its own, which its worker also goes back through."""

    @staticmethod
    def forward(ctx: Any, passing: Pass, groups: Sequence[Group], *trained: Tensor) -> Tensor:
        weights, model = passing.refresh(), passing.through
        embedded: list[Tensor] = [torch.empty(0)] * len(groups)
        mixed = _autocast_here(groups[0].rows.device.type)

        def work(places: list[int]) -> None:
            with torch.set_grad_enabled(not passing.recompute), mixed():
                for place in places:
                    embedded[place] = _embed_group(model, groups[place])

        ctx.dealt = [places for places in shares(groups, passing.crew.count) if places]
        passing.crew.each(work, ctx.dealt)
        ctx.passing, ctx.groups, ctx.weights, ctx.embedded, ctx.mixed = passing, groups, weights, embedded, mixed
        return torch.cat([part.detach().float() for part in embedded])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        parts = torch.split(grads[0], [len(group.rows) for group in ctx.groups])
        found: list[Sequence[Tensor | None]] = [()] * len(ctx.dealt)
        back = _again if ctx.passing.recompute else _kept

        def work(worker: int) -> None:
            found[worker] = back(ctx, ctx.dealt[worker], parts)

        ctx.passing.crew.each(work, range(len(ctx.dealt)))
        ctx.embedded = ctx.groups = None
        return None, None, *(_summed(column) for column in zip(*found, strict=True))


def _kept(ctx: Any, places: Sequence[int], parts: Sequence[Tensor]) -> Sequence[Tensor | None]:
    """Back through the graphs that the forward pass has kept."""
    outputs = [ctx.embedded[place] for place in places]
    wanted = [parts[place].to(output.dtype) for place, output in zip(places, outputs, strict=True)]
    found: Sequence[Tensor | None] = torch.autograd.grad(outputs, ctx.weights, wanted, allow_unused=True)
    return found


def _again(ctx: Any, places: Sequence[int], parts: Sequence[Tensor]) -> Sequence[Tensor | None]:
    """Forward once more and back, group by group."""
    total: list[Tensor | None] = [None] * len(ctx.weights)
    for place in places:
        with torch.enable_grad(), ctx.mixed():
            output = _embed_group(ctx.passing.through, ctx.groups[place])
        found = torch.autograd.grad(output, ctx.weights, parts[place].to(output.dtype), allow_unused=True)
        total = [_summed(pair) for pair in zip(total, found, strict=True)]
    return total


def _autocast_here(device: str) -> Callable[[], Any]:
    """The mixed precision that the caller's thread computes in, for other threads and for later."""
    enabled, dtype = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
    return lambda: torch.autocast(device, dtype, enabled=enabled)


def _summed(parts: Sequence[Tensor | None]) -> Tensor | None:
    there = [part for part in parts if part is not None]
    if not there:
        return None
    total = there[0].float()
    for part in there[1:]:
        total = total + part
    return total


def transformers_of(pipeline: torch.nn.Module) -> list[Any]:
    """The transformers models within the pipeline."""
    return [module for module in pipeline.modules() if hasattr(module, "set_attn_implementation")]


def simple_attention(model: SentenceTransformer) -> Callable[[], None]:
    """Let the model's transformers compute attention by plain matrix products, and return what puts the old way back.

    On a processor the fused kernel's way back is several times slower (torch 2.13: 57 ms against 8 for 2,048 tokens in bfloat16).
    """
    inner = transformers_of(model)
    before = [getattr(module.config, "_attn_implementation", None) for module in inner]

    def put_back() -> None:
        for module, name in zip(inner, before, strict=True):
            if name:
                module.set_attn_implementation(name)

    for module in inner:
        module.set_attn_implementation("eager")
    return put_back
