"""From what the log calls a result to the store's chunk ids: by id, by a metadata field, or by the text itself.

    auto   ids first ─► if most of the references are none: one scan, which tries every metadata field and the texts

Memory grows with the log's references, never with the collection.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vecmigrate.config import LogSection
from vecmigrate.errors import DataError
from vecmigrate.querylog.fields import reference
from vecmigrate.querylog.redaction import redacted
from vecmigrate.querylog.rules import JudgmentRules, rules_of
from vecmigrate.records import Chunk, QueryEvent, text_hash
from vecmigrate.store import Source

BATCH = 1000
EXAMPLES = 3
MOST = 0.5
"""From this share matched on, the references are what they seem, and what is left over is gone from the store."""
METADATA_DEPTH = 3

_AMBIGUOUS = ""


@dataclass(frozen=True, slots=True)
class ResolutionReport:
    """How the distinct references were found. `key` is the metadata field used; `clicked` and `clicked_matched` count those with
    feedback, by which the match rate goes; `several` were held by more than one chunk and therefore name none.
    """

    events: int
    references: int
    by_id: int
    by_metadata: int
    by_text: int
    several: int
    clicked: int
    clicked_matched: int
    key: str = ""
    examples: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def matched(self) -> int:
        """Distinct references that name a chunk."""
        return self.by_id + self.by_metadata + self.by_text

    @property
    def match_rate(self) -> float:
        """The share of the distinct references with feedback that name a chunk, 0 to 1."""
        return self.clicked_matched / self.clicked if self.clicked else 0.0

    def lines(self) -> list[str]:
        """For printing."""
        field_name = f" {self.key!r}" if self.key else ""
        out = [
            f"resolved {self.events:,} searches: {self.matched:,} of {self.references:,} references are chunks of the store",
            f"  {self.by_id:,} by id, {self.by_metadata:,} by metadata{field_name}, {self.by_text:,} by text",
            f"  match rate of what users clicked, cited or rated: {self.match_rate:.1%} ({self.clicked_matched:,} of {self.clicked:,})",
        ]
        if self.several:
            out.append(f"  {self.several:,} references are held by more than one chunk and were left out: they do not say which was meant")
        if self.examples:
            out.append(f"  not found, for example: {', '.join(self.examples)}")
        return out + [f"  warning: {warning}" for warning in self.warnings]


@dataclass(frozen=True, slots=True)
class ResolvedLog:
    """The events, and which chunk each of their references is. `min_rating` and `rules` are the log's, for the judgments."""

    events: tuple[QueryEvent, ...]
    chunk_of: Mapping[str, str]
    report: ResolutionReport
    min_rating: float = 1.0
    rules: JudgmentRules = field(default_factory=JudgmentRules)


@dataclass(slots=True)
class _Found:
    """What has been matched so far."""

    by_id: dict[str, str] = field(default_factory=dict)
    by_metadata: dict[str, str] = field(default_factory=dict)
    by_text: dict[str, str] = field(default_factory=dict)
    key: str = ""
    several: int = 0

    def chunk_of(self) -> dict[str, str]:
        return self.by_text | self.by_metadata | self.by_id


def resolve(events: Iterable[QueryEvent], store: Source, log: LogSection) -> ResolvedLog:
    """Find the chunk of every reference, in the way that `log.resolve_by` says.

    A reference that more than one chunk holds as metadata names none; of chunks with the same text the first by id is taken.
    Raises `DataError` when there are references and none with feedback is a chunk of the store.
    """
    taken = tuple(events)
    clicked = {act.ref for event in taken for act in event.feedback}
    wanted = clicked | {ref for event in taken for ref in event.shown}
    found = _find(wanted, clicked, store, log)
    chunk_of = found.chunk_of()
    report = _report(len(taken), wanted, clicked, found)
    if clicked and not report.clicked_matched:
        raise _nothing_matches(clicked, store, log)
    return ResolvedLog(taken, chunk_of, report, log.min_rating, rules_of(log))


def _find(wanted: set[str], clicked: set[str], store: Source, log: LogSection) -> _Found:
    found = _Found()
    if log.resolve_by in ("auto", "id"):
        found.by_id = _by_id(sorted(wanted), store)
    rate = len(clicked & found.by_id.keys()) / len(clicked) if clicked else 1.0
    if log.resolve_by == "id" or (log.resolve_by == "auto" and rate >= MOST):
        return found
    search = _Scan(wanted - found.by_id.keys(), log)
    for batch in store.scan(batch_size=BATCH):
        for chunk in batch:
            search.look(chunk)
    search.conclude(found)
    return found


def _by_id(wanted: Sequence[str], store: Source) -> dict[str, str]:
    found: dict[str, str] = {}
    for start in range(0, len(wanted), BATCH):
        found |= {id: id for id in store.fetch(wanted[start : start + BATCH])}
    return found


class _Scan:
    """One pass over the chunks, which tries every way that is asked for on every reference that is left."""

    def __init__(self, wanted: set[str], log: LogSection) -> None:
        self._wanted = wanted
        self._only = log.metadata_key
        self._metadata = log.resolve_by in ("auto", "metadata")
        self._fields: dict[str, dict[str, str]] = {}
        self._texts: dict[str, list[str]] = {}
        self._loose: dict[str, list[str]] = {}
        self._exact: dict[str, str] = {}
        self._nearly: dict[str, str] = {}
        if log.resolve_by in ("auto", "text"):
            for ref in wanted:
                self._texts.setdefault(text_hash(ref), []).append(ref)
                self._loose.setdefault(_loose_hash(ref), []).append(ref)

    def look(self, chunk: Chunk) -> None:
        """Try the chunk."""
        if self._metadata:
            self._look_at_metadata(chunk)
        if self._texts:
            _note(self._exact, self._texts.get(chunk.text_hash, ()), chunk.id)
            _note(self._nearly, self._loose.get(_loose_hash(chunk.text), ()), chunk.id)

    def _look_at_metadata(self, chunk: Chunk) -> None:
        for name, value in _scalars(chunk.metadata):
            if self._only is not None and name != self._only:
                continue
            if value in self._wanted:
                holders = self._fields.setdefault(name, {})
                holders[value] = chunk.id if holders.get(value, chunk.id) == chunk.id else _AMBIGUOUS

    def conclude(self, found: _Found) -> None:
        """Take the one metadata field that names most references singly, and the texts for the rest."""
        singles = {name: {ref: id for ref, id in held.items() if id != _AMBIGUOUS} for name, held in self._fields.items()}
        best = max(sorted(singles), key=lambda name: len(singles[name]), default="")
        if best and (self._only or len(singles[best]) * 2 > len(self._fields[best])):
            found.key, found.by_metadata = best, singles[best]
        named = self._fields[best] if found.key else max(self._fields.values(), key=len, default={})
        found.several = sum(id == _AMBIGUOUS for ref, id in named.items() if ref not in self._exact)
        found.by_text = {ref: id for ref, id in (self._nearly | self._exact).items() if ref not in found.by_metadata}


def _note(found: dict[str, str], refs: Iterable[str], id: str) -> None:
    for ref in refs:
        found[ref] = min(found.get(ref, id), id)


def _loose_hash(text: str) -> str:
    return text_hash(" ".join(text.split()))


def _scalars(metadata: Mapping[str, Any], prefix: str = "", depth: int = 1) -> Iterator[tuple[str, str]]:
    """Every id-like value with its field's name; fields of nested objects are named by dotted paths."""
    for name, value in metadata.items():
        if isinstance(value, Mapping):
            if depth < METADATA_DEPTH:
                yield from _scalars(value, f"{prefix}{name}.", depth + 1)
        elif not isinstance(value, bool | list | tuple | bytes | None):
            try:
                yield f"{prefix}{name}", reference(value)
            except ValueError:
                continue  # a fraction, say, is no id


def _report(events: int, wanted: set[str], clicked: set[str], found: _Found) -> ResolutionReport:
    chunk_of = found.chunk_of()
    unmatched = sorted(clicked - chunk_of.keys()) or sorted(wanted - chunk_of.keys())
    return ResolutionReport(
        events=events,
        references=len(wanted),
        by_id=len(found.by_id),
        by_metadata=len(found.by_metadata),
        by_text=len(found.by_text),
        several=found.several,
        clicked=len(clicked),
        clicked_matched=len(clicked & chunk_of.keys()),
        key=found.key if found.by_metadata else "",
        examples=tuple(_short(ref) for ref in unmatched[:EXAMPLES]),
        warnings=_warnings(clicked, chunk_of),
    )


def _warnings(clicked: set[str], chunk_of: Mapping[str, str]) -> tuple[str, ...]:
    matched = len(clicked & chunk_of.keys())
    if clicked and matched < MOST * len(clicked):
        return (f"fewer than half of the references are chunks of the store ({matched:,} of {len(clicked):,})",)
    return ()


def _nothing_matches(clicked: set[str], store: Source, log: LogSection) -> DataError:
    chunks = next(iter(store.scan(batch_size=EXAMPLES)), ())[:EXAMPLES]
    ids = ", ".join(_short(chunk.id) for chunk in chunks) or "none: it is empty"
    names = Counter(name for chunk in chunks for name, _ in _scalars(chunk.metadata))
    refs = ", ".join(_short(ref) for ref in sorted(clicked)[:EXAMPLES])
    metadata = f" (metadata fields: {', '.join(sorted(names))})" if names else ""
    ways = {"auto": "id, metadata or text", "metadata": f"metadata {log.metadata_key or 'field'}"}.get(log.resolve_by, log.resolve_by)
    return DataError(
        f"none of the log's {len(clicked):,} references is a chunk of {store.collection} by {ways}: "
        f"the log says {refs}; the store's ids are {ids}",
        hint=f"check that the log belongs to this collection; [log] resolve_by and metadata_key say how they join{metadata}",
    )


def _short(text: str) -> str:
    """For a message; of a text that stands for a chunk, without what may be personal in it."""
    shown = repr(redacted(text[:200]) if " " in text or "@" in text else text)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
