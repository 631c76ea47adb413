"""The whole job as a library, on a small collection: freeze a dataset, fine-tune, build beside, compare, cut over.

Takes about a minute. The same with real size and all the checks is `vecmigrate demo`.
"""

import os
import tempfile
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from vecmigrate import Retriever, open_store
from vecmigrate.config import DatasetSection, EncodingSection, GateSection, LogSection, TrainingSection
from vecmigrate.cutover import flip
from vecmigrate.dataset import Split, build_dataset
from vecmigrate.demo.applications import ChromaApplication
from vecmigrate.demo.corpus import load
from vecmigrate.demo.query_log import rows
from vecmigrate.demo.story import stock_model
from vecmigrate.encoding import CatalogEncoders, ModelCatalog
from vecmigrate.evaluation import CompareRequest, compare, judge_gate
from vecmigrate.querylog import judge, read_events, resolve
from vecmigrate.reindex import build
from vecmigrate.training import TrainingRequest, train


def main(folder: Path) -> None:
    catalog = ModelCatalog(folder / "models")
    encoders = CatalogEncoders(catalog, EncodingSection())
    stock = catalog.add(stock_model(), settings=EncodingSection())
    encoder = encoders.encoder_of(stock.model)

    application = ChromaApplication(folder)
    items = [i for i in load() if i.module in ("pathlib", "shutil", "json", "csv", "datetime", "subprocess")]
    application.ingest(items, encoder.encode_documents([i.text for i in items]))
    application.play([r for r in rows() if set(r["clicked_ids"]) & {i.id for i in items}])

    store = open_store("chroma", {"path": str(folder / "chroma"), "source": "docs"}, collection="docs")
    control = store.adopt(stock.model)
    log = LogSection(path=folder / "search_log.jsonl")
    judged = judge(resolve(read_events(log, root=folder), store, log))
    data = build_dataset(store, control, encoder, judged, DatasetSection(), folder / "datasets")
    short = TrainingSection(rungs=("full",), loss="ranking", learning_rate=1e-4, epochs=1, evaluations_per_epoch=1)
    request = TrainingRequest(stock, catalog, folder / "training", short, lineage={"dataset": data.hash})
    tuned = train(data.training_pairs(), data.dev_set(), request).entry
    candidate = build(store, store.create_version(tuned.model), encoders.encoder_of(tuned.model), actor="me").version

    test = (data.queries(Split.TEST), data.judgments(Split.TEST))
    found = compare(store, control, candidate, CompareRequest(*test, encoders, trained_chunks=data.trained_chunks))
    print(f"{found.main.measure}: {found.main.figures.control:.3f} → {found.main.figures.candidate:.3f} on {len(test[0])} queries;"
          f" training says: {tuned.verdict}; the gate says: {judge_gate(found, GateSection()).outcome}")  # fmt: skip
    flip(store, candidate.number, expect_epoch=1, actor="me", reason="cutover")
    with Retriever(store, encoders) as retriever:
        answer = retriever.search("write rows to a comma separated file", 3)
    print(answer.version, [r.chunk.id for r in answer.results])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        main(Path(place))
