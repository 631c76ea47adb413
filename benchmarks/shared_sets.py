"""The whole job on sets of judged queries, on both stores: the table of nDCG@10 before and after, on queries the training never saw.

    python benchmarks/shared_sets.py FOLDER [--sets cranfield feedbackqa …] [--queries 900] [--docs 5000] [--epochs 1]

FOLDER holds one folder for each set: corpus.jsonl (id, title, text), queries.jsonl (id, text) and qrels.tsv. Larger sets are cut, and the
table says so: queries to the latest, or a seeded sample; documents to the judged ones and a seeded sample of the rest. The model is trained
once for each set; each store builds its own version and is searched by itself.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from vecmigrate.config import DatasetSection, EncodingSection, GateSection, TrainingSection
from vecmigrate.dataset import Dataset, Split, build_dataset
from vecmigrate.demo.applications import ChromaApplication, PostgresApplication
from vecmigrate.demo.corpus import Item
from vecmigrate.demo.story import stock_model
from vecmigrate.encoding import CatalogEncoders, ModelCatalog, ModelEntry
from vecmigrate.errors import VecmigrateError
from vecmigrate.evaluation import CompareRequest, compare, judge_gate
from vecmigrate.querylog import judged_from_files
from vecmigrate.registry import open_store
from vecmigrate.reindex import build, verify
from vecmigrate.store import Store
from vecmigrate.testing.postgres import EmbeddedPostgres
from vecmigrate.training import TrainingRequest, train


@dataclass(frozen=True)
class Bench:
    """What all sets share."""

    folder: Path
    server: EmbeddedPostgres
    catalog: ModelCatalog
    encoders: CatalogEncoders
    stock: ModelEntry
    arguments: argparse.Namespace


def jsonl(file: Path) -> list[dict[str, Any]]:
    """The objects of a file."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def cut(bench: Bench, source: Path) -> tuple[list[Item], Path, Path]:
    """The set's chunks, and files with its queries and judgments, each at most as many as asked for."""
    chance, arguments = random.Random(0), bench.arguments
    header, *judged = (source / "qrels.tsv").read_text(encoding="utf-8").splitlines()
    known = {line.split("\t")[0] for line in judged}
    queries = [q for q in jsonl(source / "queries.jsonl") if q["id"] in known]
    if queries and "created" in queries[0]:
        queries.sort(key=lambda q: q["created"])
        queries = [{**q, "timestamp": q["created"]} for q in queries[-arguments.queries :]]
    elif len(queries) > arguments.queries:
        queries = chance.sample(queries, arguments.queries)
    kept = {q["id"] for q in queries}
    judged = [line for line in judged if line.split("\t")[0] in kept]
    wanted = {line.split("\t")[1] for line in judged}
    docs = jsonl(source / "corpus.jsonl")
    rest = [d for d in docs if d["id"] not in wanted]
    chosen = [d for d in docs if d["id"] in wanted] + chance.sample(rest, max(0, min(len(rest), arguments.docs - len(wanted))))
    items = [Item(d["id"], d.get("title", ""), f"{d.get('title', '')}\n{d['text']}".strip(), "chunk", source.name) for d in chosen]
    place = bench.folder / source.name
    place.mkdir()
    (place / "queries.jsonl").write_text("".join(json.dumps(q) + "\n" for q in queries), encoding="utf-8")
    (place / "qrels.tsv").write_text("\n".join([header, *judged]) + "\n", encoding="utf-8")
    return [i for i in items if i.text], place / "queries.jsonl", place / "qrels.tsv"


def open_both(bench: Bench, name: str, items: list[Item]) -> dict[str, Store]:
    """The set in both stores, as an application has it, made with the stock model."""
    vectors = bench.encoders.encoder_of(bench.stock.model).encode_documents([i.text for i in items])
    applications = {
        "pgvector": PostgresApplication(bench.server.create_database(name)),
        "chroma": ChromaApplication(bench.folder / name),
    }
    stores = {}
    for kind, application in applications.items():
        application.ingest(items, vectors)
        os.environ.update(application.environment)
        settings = {k: v for k, v in application.settings.items() if k not in ("adapter", "collection")}
        stores[kind] = open_store(kind, settings, collection="docs")
        stores[kind].adopt(bench.stock.model)
    return stores


def tune(bench: Bench, name: str, store: Store, files: tuple[Path, Path]) -> tuple[Dataset, ModelEntry, float]:
    """Freeze a dataset and train on it; minutes of the training."""
    control = store.versions()[0]
    judged = judged_from_files(*files)
    encoder = bench.encoders.encoder_of(bench.stock.model)
    data = build_dataset(store, control, encoder, judged, DatasetSection(), bench.folder / "datasets")
    section = TrainingSection(epochs=bench.arguments.epochs, evaluations_per_epoch=2)
    start = time.monotonic()
    request = TrainingRequest(
        bench.stock, bench.catalog, bench.folder / "training", section, name=name.replace("_", "-"), lineage={"dataset": data.hash}
    )
    entry = train(data.training_pairs(), data.dev_set(), request).entry
    return data, entry, (time.monotonic() - start) / 60


def row(bench: Bench, kind: str, store: Store, data: Dataset, entry: ModelEntry) -> str:
    """Build and compare on one store; the table's cells."""
    start = time.monotonic()
    version = build(store, store.create_version(entry.model), bench.encoders.encoder_of(entry.model), actor="benchmark").version
    verified = verify(store, version, bench.encoders.encoder_of(entry.model)).ok
    request = CompareRequest(
        data.queries(Split.TEST),
        data.judgments(Split.TEST),
        bench.encoders,
        trained_chunks=data.trained_chunks,
        training_verdict=entry.verdict or "",
    )
    found = compare(store, store.versions()[0], version, request)
    figures, outcome = found.main.figures, judge_gate(found, GateSection()).outcome
    interval = f"[{figures.interval.low:+.3f}, {figures.interval.high:+.3f}]" if figures.interval else "–"
    minutes = (time.monotonic() - start) / 60
    return (
        f"{kind} | {found.rows} | {len(data.training_pairs())} | {figures.n} | {figures.control:.3f} → {figures.candidate:.3f} | "
        f"{figures.difference:+.3f} {interval} | {entry.verdict} | {outcome} | {'yes' if verified else 'NO'} | {minutes:.1f}"
    )


def main() -> None:
    """Run every set and print the table as it grows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sets", nargs="*")
    parser.add_argument("--queries", type=int, default=900)
    parser.add_argument("--docs", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=1)
    arguments = parser.parse_args()
    names = arguments.sets or sorted(p.name for p in arguments.folder.iterdir() if (p / "qrels.tsv").is_file())
    print(
        "| set | store | chunks | pairs | test queries | nDCG@10 | difference [95 %] | training says | gate | verified | build + compare, min | training, min |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(prefix="vecmigrate-sets-") as place, EmbeddedPostgres(Path(place) / "postgres") as server:
        catalog = ModelCatalog(Path(place) / "models")
        encoders = CatalogEncoders(catalog, EncodingSection())
        bench = Bench(Path(place), server, catalog, encoders, catalog.add(stock_model(), settings=EncodingSection()), arguments)
        for name in names:
            try:
                one_set(bench, name)
            except VecmigrateError as error:
                print(f"| {name} | – | refused: {error.message} |", flush=True)


def one_set(bench: Bench, name: str) -> None:
    """Both stores' rows of one set."""
    items, *files = cut(bench, bench.arguments.folder / name)
    stores = open_both(bench, name, items)
    data, entry, minutes = tune(bench, name, stores["pgvector"], (files[0], files[1]))
    for kind, store in stores.items():
        print(f"| {name} | {row(bench, kind, store, data, entry)} | {minutes:.1f} |", flush=True)
        store.close()


if __name__ == "__main__":
    main()
