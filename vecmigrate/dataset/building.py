"""From a judged log and a live store to a frozen dataset.

    scan ─► chunks.parquet ─► judgments on what is there ─► groups ─► split ─┬─► train, and synthetic queries: pairs and hard negatives
                                                                             ├─► dev: pool
                                                                             └─► test
Memory grows with the judgments, never with the collection.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from vecmigrate.config import DatasetSection
from vecmigrate.dataset import storage
from vecmigrate.dataset.cross_encoder import load_cross_encoder
from vecmigrate.dataset.devpool import POOL_SIZE, Lottery, choose_dev_queries, pool_candidates
from vecmigrate.dataset.documents import SAMPLE, DocumentKey, find_document_key
from vecmigrate.dataset.drafting import without
from vecmigrate.dataset.frozen import CANDIDATES, CHUNKS, COLUMNS, FORMAT, JUDGMENTS, PAIRS, POOL, QUERIES, SHORT, Dataset
from vecmigrate.dataset.grouping import group_queries
from vecmigrate.dataset.judged import what_is_known
from vecmigrate.dataset.negatives import mine
from vecmigrate.dataset.searching import Mining, how_to_search
from vecmigrate.dataset.splitting import Split, refuse_too_few, split_queries
from vecmigrate.dataset.unasked import caution, join_by_chunk, train_queries
from vecmigrate.encoding.encoder import Encoder
from vecmigrate.errors import DataError, WrongSpace
from vecmigrate.querylog.judgments import JudgedLog
from vecmigrate.records import Chunk, Judgment, Query
from vecmigrate.store import Store
from vecmigrate.synthesis.marking import MARK
from vecmigrate.versions import IndexVersion, fingerprint_of


@dataclass(slots=True)
class _Snapshot:
    """What was noted while the chunks streamed by. `total` is a sum over chunks, so that their order does not matter."""

    judged: frozenset[str]
    lottery: Lottery
    key: DocumentKey
    documents: int = 0
    present: set[str] = field(default_factory=set)
    rows: int = 0
    total: int = 0

    def rows_of(self, chunks: Sequence[Chunk]) -> list[tuple[str, str, str, str]]:
        rows = []
        for chunk in chunks:
            hashed = chunk.text_hash
            document = _storable(self.key.of(chunk))
            self.documents += bool(document)
            entry = f"{len(chunk.id)}\0{chunk.id}\0{hashed}\0{document}".encode("utf-8", "surrogatepass")
            self.total = (self.total + int.from_bytes(hashlib.sha256(entry).digest())) % 2**256
            self.rows += 1
            self.lottery.offer(chunk.id)
            if chunk.id in self.judged:
                self.present.add(chunk.id)
            rows.append((chunk.id, _storable(chunk.text), hashed, document))
        return rows


@dataclass(frozen=True, slots=True)
class _Frozen:
    """What goes into the files beside the chunks, each list in its final order."""

    queries: list[tuple[Any, ...]]
    judgments: list[tuple[Any, ...]]
    pairs: list[tuple[Any, ...]]
    candidates: list[tuple[Any, ...]]
    pool: list[tuple[Any, ...]]
    report: list[str]


@dataclass(frozen=True, slots=True)
class _Divided:
    """Queries with their groups and judgments, both sorted, the split of each query that has one, and how it came to that."""

    queries: list[Query]
    judgments: list[Judgment]
    splits: dict[str, Split]
    report: list[str]


def build_dataset(
    store: Store,
    control: IndexVersion,
    encoder: Encoder,
    judged: JudgedLog,
    settings: DatasetSection,
    folder: Path,
    *,
    synthetic: JudgedLog | None = None,
) -> Dataset:
    """Freeze the collection's chunks with the judged queries, and mine negatives with `encoder`, the control's, in a folder of `folder`.

    The same chunks, judgments, settings and control give the same hash and the dataset that is there already. A killed build leaves
    nothing that counts as a dataset. `synthetic` queries go into train alone, and only those that are no wording of a dev or test query;
    given as `judged` they are split, and the report begins with what figures on them are worth.

    Raises `DataError` when there are too few usable queries, no chunks, or the disk is full; `WrongSpace` when the encoder is not the
    control's; and what the store and the encoder raise.
    """
    if encoder.model.fingerprint != control.model.fingerprint:
        raise WrongSpace(
            f"{control.name} was made by {control.model.name}, and the encoder is {encoder.model.name}",
            hint="mine with the encoder that made the vectors",
        )
    refuse_too_few(len(judged.queries))
    scorer = load_cross_encoder(settings.negative_filter) if settings.negative_filter else None
    with storage.workspace(folder) as place:
        ids = frozenset(j.chunk_id for log in (judged, synthetic) if log for j in log.judgments).union(*judged.passed_over.values())
        snapshot = _freeze_chunks(store, ids, settings, place / CHUNKS)
        exact, blocks = how_to_search(store, control, settings, snapshot.rows)
        mining = Mining(store, control, encoder, settings, exact, place / CHUNKS if blocks else None, scorer)
        frozen = _prepare(mining, (judged, synthetic), snapshot, place / CHUNKS)
        return _freeze(place, frozen, snapshot, (control, settings), folder)


def _freeze_chunks(store: Store, judged: frozenset[str], settings: DatasetSection, path: Path) -> _Snapshot:
    def sample() -> Sequence[Chunk]:
        return store.sample(SAMPLE, seed=settings.seed)

    snapshot = _Snapshot(judged, Lottery(POOL_SIZE, settings.seed), find_document_key(sample, settings.document_key))
    storage.write_table(path, COLUMNS[CHUNKS], (snapshot.rows_of(batch) for batch in store.scan(batch_size=storage.BATCH)))
    if not snapshot.rows:
        raise DataError(f"the collection {store.collection} has no chunk with text", hint="vecmigrate inspect shows what is in it")
    snapshot.key.refuse_absent(snapshot.documents, sample)
    return snapshot


def _prepare(mining: Mining, logs: tuple[JudgedLog, JudgedLog | None], snapshot: _Snapshot, chunks: Path) -> _Frozen:
    divided = _divide(logs, snapshot.present, mining.settings)
    grouped, judgments, splits = divided.queries, divided.judgments, divided.splits
    by_split = {split: [query for query in grouped if splits.get(query.id) == split] for split in Split}
    passed_over = {id: found for id, chunk_ids in logs[0].passed_over.items() if (found := chunk_ids & snapshot.present)}
    known = what_is_known(grouped, judgments, lambda: storage.read_table(chunks, ["id", "text_hash", "document"]), passed_over)
    mined = mine(mining, by_split[Split.TRAIN], known, notes=(mining.line(),))
    dev = choose_dev_queries(by_split[Split.DEV], mining.settings.seed)
    pool = pool_candidates(mining, dev, known.judgments, snapshot.lottery.winners)
    looked_at = [(q.id, mined.candidates.get(q.id, ()), passed_over.get(q.id, frozenset())) for q in by_split[Split.TRAIN]]
    frozen, gone = _which_are_frozen({id for p in mined.pairs for id in p.negatives}.union(pool, *(ids for _, ids, _ in looked_at)), chunks)
    pool = [id for id in pool if id in frozen]
    told_apart = snapshot.key.lines(snapshot.documents, snapshot.rows)
    report = [*divided.report, *mined.report.lines(), *told_apart, *gone]
    report.append(f"froze {snapshot.rows:,} chunks; dev searches {len(pool):,} of them for {len(dev):,} queries")
    return _Frozen(
        queries=[(q.id, q.text, q.group, splits[q.id].value, q.at, list(q.slices)) for q in grouped if q.id in splits],
        judgments=[(j.query_id, j.chunk_id, j.grade, j.weight) for j in judgments if j.query_id in splits],
        pairs=[(p.query_id, p.chunk_id, list(without(p, frozen).negatives), p.weight, p.grade) for p in mined.pairs],
        candidates=[(id, [i for i in ids if i in frozen], sorted(passed)) for id, ids, passed in looked_at],
        pool=[("query", query.id) for query in dev] + [("chunk", id) for id in sorted(pool)],
        report=report,
    )


def _divide(logs: tuple[JudgedLog, JudgedLog | None], present: set[str], settings: DatasetSection) -> _Divided:
    judged, synthetic = logs
    queries, judgments, lines = _still_there(judged, present)
    refuse_too_few(len(queries), "whose chunks are still in the store")
    grouped, grouping = group_queries(queries)
    grouped, joining = join_by_chunk(grouped, judgments)
    splits, splitting = split_queries(grouped, settings)
    warning = caution(queries)
    steps = [*judged.report.lines(), *lines, *grouping.lines(), *joining, *splitting.lines()]
    divided = _Divided(list(grouped), judgments, splits, [*([f"caution: {warning}"] if warning else []), *steps])
    return divided if synthetic is None else _with_synthetic(divided, synthetic, present)


def _with_synthetic(divided: _Divided, synthetic: JudgedLog, present: set[str]) -> _Divided:
    queries, judgments, lines = _still_there(synthetic, present)
    added = train_queries(queries, divided.queries, divided.splits)
    ids = {query.id for query in added.queries}
    return _Divided(
        sorted([*divided.queries, *added.queries], key=lambda q: q.id),
        sorted([*divided.judgments, *(j for j in judgments if j.query_id in ids)], key=lambda j: (j.query_id, j.chunk_id)),
        divided.splits | dict.fromkeys(ids, Split.TRAIN),
        [*divided.report, *synthetic.report.lines(), *lines, *added.lines()],
    )


def _still_there(judged: JudgedLog, present: set[str]) -> tuple[list[Query], list[Judgment], list[str]]:
    """Queries and judgments, by id, on chunks that are in the snapshot; a query needs a relevant one."""
    judgments = sorted((j for j in judged.judgments if j.chunk_id in present), key=lambda j: (j.query_id, j.chunk_id))
    usable = {j.query_id for j in judgments if j.grade > 0}
    queries = sorted((_storable_query(query) for query in judged.queries if query.id in usable), key=lambda q: q.id)
    lines = []
    if gone := len(judged.judgments) - len(judgments):
        lost = len(judged.queries) - len(queries)
        lines.append(f"left out {gone:,} judgments on chunks that are no longer in the store, and {lost:,} queries with them")
    return queries, [j for j in judgments if j.query_id in usable], lines


def _which_are_frozen(found: set[str], chunks: Path) -> tuple[set[str], list[str]]:
    """Of what searches found, what the snapshot, taken a moment before, holds."""
    frozen = {row["id"] for row in storage.read_table(chunks, ["id"]) if row["id"] in found}
    gone = len(found - frozen)
    line = f"left out {gone:,} rows that a search found but that have no text, or were written while the dataset was being built"
    return frozen, [line] if gone else []


def _freeze(place: Path, frozen: _Frozen, snapshot: _Snapshot, origin: tuple[IndexVersion, DatasetSection], folder: Path) -> Dataset:
    control, settings = origin
    tables = {
        QUERIES: frozen.queries,
        JUDGMENTS: frozen.judgments,
        PAIRS: frozen.pairs,
        CANDIDATES: frozen.candidates,
        POOL: frozen.pool,
    }
    for name, rows in tables.items():
        storage.write_table(place / name, COLUMNS[name], _batches(rows))
    parts = {
        "format": FORMAT,
        "collection": control.collection,
        "control": control.model.fingerprint,
        "settings": _as_identity(settings),
        "chunks": f"{snapshot.total:064x}",
        **{Path(name).stem: _digest(rows) for name, rows in tables.items()},
    }
    hashed = fingerprint_of(parts)
    target = folder / hashed[:SHORT]
    there = _intact(target, hashed)
    if there is not None:
        return there
    manifest = {
        "hash": hashed,
        "parts": parts,
        "files": {name: storage.file_digest(place / name) for name in COLUMNS},
        "created_at": datetime.now(UTC).isoformat(),
        "counts": _counts(frozen, snapshot),
        "report": frozen.report,
    }
    storage.publish(place, manifest, target)
    return Dataset.load(target)


def _as_identity(settings: DatasetSection) -> dict[str, Any]:
    """The settings as they go into the hash: a cross-encoder by the last part of its directory, so that a workspace may be moved."""
    scorer = settings.negative_filter
    named = Path(scorer).name if scorer and Path(scorer).is_absolute() else scorer
    return {**settings.model_dump(), "negative_filter": named}


def _intact(target: Path, hashed: str) -> Dataset | None:
    """The dataset of this hash that is there already, unless something in it was changed."""
    try:
        there = Dataset.load(target)
        there.verify()
    except DataError:
        return None
    return there if there.hash == hashed else None


def _counts(frozen: _Frozen, snapshot: _Snapshot) -> Mapping[str, int]:
    splits = {f"{split.value}_queries": sum(row[3] == split for row in frozen.queries) for split in Split}
    negatives = sum(len(row[2]) for row in frozen.pairs)
    made = sum(any(name.startswith(MARK) for name in row[5]) for row in frozen.queries)
    synthetic = {"synthetic_queries": made} if made else {}
    pairs = {"judgments": len(frozen.judgments), "pairs": len(frozen.pairs), "negatives": negatives}
    return {"chunks": snapshot.rows, **splits, **synthetic, **pairs}


def _batches(rows: Sequence[tuple[Any, ...]]) -> Iterator[Sequence[tuple[Any, ...]]]:
    for start in range(0, len(rows), storage.BATCH):
        yield rows[start : start + storage.BATCH]


def _digest(rows: Iterable[tuple[Any, ...]]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, ensure_ascii=True, default=_iso).encode() + b"\n")
    return digest.hexdigest()


def _iso(value: datetime) -> str:
    return value.astimezone(UTC).isoformat()


def _storable(text: str) -> str:
    """Parquet holds UTF-8, which has no place for a lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def _storable_query(query: Query) -> Query:
    return replace(query, text=_storable(query.text))
