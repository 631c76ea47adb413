"""Model versions, index versions, the serving pointer, and the table of state transitions. Pure: no I/O.

planned ─► backfilling ─► indexing ─► catching_up ─► ready ─► active ⇄ standby ─► retired
   └──────────┴──────────────┴────────────┴───────────┴────────► failed, cancelled      (never from active)
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Self


class Metric(StrEnum):
    """How two vectors are compared."""

    COSINE = "cosine"
    """Cosine similarity; a zero vector has none."""
    INNER_PRODUCT = "inner_product"
    """Inner product; norms count."""
    L2 = "l2"
    """Euclidean distance; its score is minus the distance."""


class Element(StrEnum):
    """How one component of a stored vector is kept."""

    FLOAT32 = "float32"
    """pgvector's `vector`, and Chroma."""
    FLOAT16 = "float16"
    """pgvector's `halfvec`."""


class State(StrEnum):
    """Where an index version stands in its life."""

    PLANNED = "planned"
    """Registered, its storage made, no rows."""
    BACKFILLING = "backfilling"
    """Rows are being encoded and loaded."""
    INDEXING = "indexing"
    """All rows loaded; the ANN index is being built."""
    CATCHING_UP = "catching_up"
    """Indexed; changes made meanwhile are being applied."""
    READY = "ready"
    """Complete and verified; may be activated."""
    ACTIVE = "active"
    """Serving readers."""
    STANDBY = "standby"
    """Served before, kept for rollback."""
    RETIRED = "retired"
    """Destroyed on request; only the record is left."""
    FAILED = "failed"
    """Stopped by an error; a further build resumes it."""
    CANCELLED = "cancelled"
    """Given up on request, its storage dropped."""


_ABORTS = frozenset({State.FAILED, State.CANCELLED})

TRANSITIONS: Mapping[State, frozenset[State]] = {
    State.PLANNED: frozenset({State.BACKFILLING}) | _ABORTS,
    State.BACKFILLING: frozenset({State.INDEXING}) | _ABORTS,
    State.INDEXING: frozenset({State.CATCHING_UP}) | _ABORTS,
    State.CATCHING_UP: frozenset({State.READY}) | _ABORTS,
    State.READY: frozenset({State.ACTIVE, State.CATCHING_UP}) | _ABORTS,
    State.ACTIVE: frozenset({State.STANDBY}),
    State.STANDBY: frozenset({State.ACTIVE, State.RETIRED}) | _ABORTS,
    State.FAILED: frozenset({State.BACKFILLING, State.CANCELLED}),
    State.RETIRED: frozenset(),
    State.CANCELLED: frozenset(),
}
"""Every allowed step. What is not here is refused by the stores too."""

SEARCHABLE = frozenset({State.CATCHING_UP, State.READY, State.ACTIVE, State.STANDBY})
COMPLETE = frozenset({State.READY, State.ACTIVE, State.STANDBY})
GONE = frozenset({State.RETIRED, State.CANCELLED})


def may_become(before: State, after: State) -> bool:
    """Whether the transition table has this step."""
    return after in TRANSITIONS[before]


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One encoder, identified by everything that moves its vectors.

    `fingerprint` is 64 hex digits over weights, tokenizer, pooling, normalisation, prompts, maximum length, dimension
    and precision. `source` is a directory or a hub name, where the encoder can be loaded from; it is no part of the identity.

    `documents` is the fingerprint of the model whose document vectors this model's are identical to, "" for its own: so of a model that was
    tuned on the query side alone. It is no part of the identity either: the fingerprint covers the files of both sides already, and is the
    same whether or not anybody wrote the relation down. It is believed only after a sample of stored vectors has proved it.
    """

    name: str
    fingerprint: str
    source: str
    dimension: int
    max_tokens: int | None = None
    precision: str = "float32"
    query_prompt: str = ""
    document_prompt: str = ""
    documents: str = ""

    @property
    def document_fingerprint(self) -> str:
        """The model whose document vectors this one's are."""
        return self.documents or self.fingerprint

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote; unknown keys are ignored."""
        return cls(**{k: v for k, v in data.items() if k in cls.__slots__})

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready mapping."""
        return asdict(self)


def fingerprint_of(parts: Mapping[str, Any]) -> str:
    """SHA-256 over the canonical JSON of `parts`, as 64 hex digits. Order of keys does not matter."""
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class AnnParameters:
    """The approximate index of a version. `kind` is "hnsw", or "none" for exact search only."""

    kind: str = "hnsw"
    m: int = 16
    ef_construction: int = 64


@dataclass(frozen=True, slots=True)
class IndexVersion:
    """The vectors of one collection under one model version, written `docs@v2`.

    Number 0 is the control that was there before us: the application's own vectors. `shares` names the version whose vectors this one
    searches with queries of its own model, `docs@v0`; "" for vectors of its own. That one never shares in turn.
    """

    collection: str
    number: int
    model: ModelVersion
    metric: Metric
    state: State
    element: Element = Element.FLOAT32
    ann: AnnParameters = AnnParameters()
    location: str = ""
    rows: int | None = None
    created_at: datetime | None = None
    note: str = ""
    shares: str = ""

    @property
    def name(self) -> str:
        """`docs@v2`."""
        return f"{self.collection}@v{self.number}"

    @property
    def label(self) -> str:
        """`v2`."""
        return f"v{self.number}"

    @property
    def holder(self) -> int:
        """The number of the version whose vectors this one searches: its own, unless it shares another's."""
        return parse_version(self.shares) if self.shares else self.number


@dataclass(frozen=True, slots=True)
class Pointer:
    """Which version serves. `epoch` grows by one at each change, so a plan made at another epoch is stale."""

    collection: str
    active: int
    previous: int | None
    epoch: int


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One thing that happened to a collection, written together with it."""

    at: datetime
    actor: str
    kind: str
    version: int | None = None
    epoch: int | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


def parse_version(label: str) -> int:
    """`v2`, `2` or `docs@v2` → 2. Raises `ValueError` for anything else."""
    digits = label.rpartition("@")[2].removeprefix("v")
    if not (digits.isascii() and digits.isdigit()):
        raise ValueError(f"{label!r} is not a version; expected something like v2")
    return int(digits)
