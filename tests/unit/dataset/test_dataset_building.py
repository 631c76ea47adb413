"""From a judged log and a store to a frozen dataset: what is in it, what is refused, and that it appears whole or not at all."""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import sys
import textwrap
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from vecmigrate.config import DatasetSection
from vecmigrate.dataset import Split, build_dataset, building, latest, list_datasets, storage
from vecmigrate.errors import DataError, WrongSpace
from vecmigrate.records import Chunk, Judgment
from vecmigrate.testing.encoders import HashingEncoder
from vecmigrate.testing.memory import MemoryStore

from .dataset_corpus import ENCODER, asked, corpus, judged_log, store_of


def shuffled(texts):
    items = list(texts.items())
    random.Random(5).shuffle(items)
    return dict(items)


# What is in it.


def test_chunks_queries_judgments_and_pairs_are_frozen(build, texts):
    dataset = build(texts)
    assert dataset.chunk_ids == tuple(sorted(texts))
    assert dataset.text(["c003", "c100", "nowhere"]) == {"c003": texts["c003"], "c100": texts["c100"]}
    assert [len(dataset.queries(split)) for split in Split] == [42, 6, 12]
    assert [query.id for query in dataset.queries("test")] == [f"q{i:03d}" for i in range(48, 60)]
    assert dataset.judgments("dev") == tuple(Judgment(f"q{i:03d}", f"c{i:03d}", 1.0, 0.5) for i in range(42, 48))
    assert dataset.collection == "docs"
    assert dataset.control_fingerprint == ENCODER.model.fingerprint
    assert dataset.counts == {
        "chunks": 120,
        "train_queries": 42,
        "dev_queries": 6,
        "test_queries": 12,
        "judgments": 60,
        "pairs": 42,
        "negatives": 42,
    }


def test_queries_come_back_as_they_went_in_but_for_their_group(build, texts):
    judged = asked(texts)
    before = {query.id: query for query in judged.queries}
    for query in build(texts, judged).queries(Split.TRAIN):
        assert replace(query, group="") == before[query.id]
        assert query.group.startswith("g-")


def test_pairs_carry_texts_and_hard_negatives(build, texts):
    dataset = build(texts)
    pairs = dataset.training_pairs()
    assert [pair.query_id for pair in pairs] == [f"q{i:03d}" for i in range(42)]
    for pair in pairs:
        assert pair.positive == texts[pair.chunk_id]
        assert pair.positive.startswith(pair.query)
        assert pair.weight == 0.5
        (negative,) = pair.negatives
        assert negative in texts.values()
        assert negative != pair.positive
    assert dataset.trained_chunks == {f"c{i:03d}" for i in range(42)}


def test_nothing_of_dev_and_test_is_trained_on(build, texts):
    dataset = build(texts)
    trained = {pair.query_id for pair in dataset.training_pairs()}
    for split in (Split.DEV, Split.TEST):
        assert trained.isdisjoint(query.id for query in dataset.queries(split))


def test_the_dev_set_holds_judged_chunks_neighbours_and_a_rest(build, texts):
    dev = build(texts).dev_set()
    assert [query.id for query in dev.queries] == [f"q{i:03d}" for i in range(42, 48)]
    assert {judgment.chunk_id for judgment in dev.judgments} <= set(dev.pool)
    assert dev.pool == texts


def test_the_dev_pool_has_a_size(build, monkeypatch):
    monkeypatch.setattr(building, "POOL_SIZE", 40)
    monkeypatch.setattr("vecmigrate.dataset.devpool.POOL_SIZE", 40)
    texts = corpus(400)
    dataset = build(texts, asked(texts, 100))
    dev = dataset.dev_set()
    assert len(dev.pool) == 40
    assert {judgment.chunk_id for judgment in dev.judgments} <= set(dev.pool)
    near = build(texts, asked(texts, 100), DatasetSection(seed=1)).dev_set()
    assert len(near.pool) == 40


def test_many_dev_queries_are_sampled(build, monkeypatch, texts):
    monkeypatch.setattr("vecmigrate.dataset.devpool.DEV_QUERIES", 3)
    dataset = build(texts)
    assert (len(dataset.queries("dev")), len(dataset.dev_set().queries), len(dataset.dev_set().judgments)) == (6, 3, 3)


def test_the_report_goes_through_every_step(build, texts):
    starts = [line.split()[0] for line in build(texts).report if not line.startswith(" ")]
    assert starts == ["judged", "grouped", "split", "mined", "froze"]


def test_repeated_wordings_stay_on_one_side(build, texts):
    judged = asked(texts)
    twins = [replace(query, id=f"x{query.id}", text=f"{query.text.upper()} ?", at=None) for query in judged.queries]
    more = judged_log(
        [*judged.queries, *twins], [*judged.judgments, *(Judgment(f"x{j.query_id}", j.chunk_id, 1.0) for j in judged.judgments)]
    )
    dataset = build(texts, more, DatasetSection(split_by="group"))
    where = {query.id: split for split in Split for query in dataset.queries(split)}
    assert len(where) == 120
    assert all(where[id] == where[f"x{id}"] for id in where if not id.startswith("x"))


# Identity.


def test_the_same_inputs_give_the_same_hash_whatever_the_order_of_the_scan(build, texts, tmp_path):
    one = build(texts, asked(texts), folder=tmp_path / "one")
    other = build(shuffled(texts), asked(texts), folder=tmp_path / "other")
    assert one.hash == other.hash
    assert one.training_pairs() == other.training_pairs()
    assert one.dev_set() == other.dev_set()
    assert one.folder.name == one.hash[:16] == one.name


@pytest.mark.parametrize(
    "change",
    [
        lambda texts, judged, settings: ({**texts, "c119": "another text"}, judged, settings),
        lambda texts, judged, settings: ({**texts, "c999": "one more"}, judged, settings),
        lambda texts, judged, settings: ({id: text for id, text in texts.items() if id != "c119"}, judged, settings),
        lambda texts, judged, settings: ({**texts, "c118": texts["c119"], "c119": texts["c118"]}, judged, settings),
        lambda texts, judged, settings: (texts, judged_log(judged.queries, [*judged.judgments, Judgment("q000", "c077", 0.0)]), settings),
        lambda texts, judged, settings: (texts, judged, DatasetSection(seed=1)),
        lambda texts, judged, settings: (texts, judged, DatasetSection(negatives_per_pair=2)),
        lambda texts, judged, settings: (
            texts,
            judged_log([replace(judged.queries[0], text="new"), *judged.queries[1:]], judged.judgments),
            settings,
        ),
    ],
)
def test_any_change_of_an_input_changes_the_hash(build, texts, settings, change):
    assert build(texts).hash != build(*change(texts, asked(texts), settings)).hash


def test_building_again_gives_the_dataset_that_is_there(build, texts):
    first = build(texts)
    before = {path.name: path.stat().st_mtime_ns for path in first.folder.iterdir()}
    second = build(texts)
    assert (second.hash, second.created_at) == (first.hash, first.created_at)
    assert {path.name: path.stat().st_mtime_ns for path in second.folder.iterdir()} == before
    assert [path.name for path in first.folder.parent.iterdir()] == [first.name]


def test_building_again_mends_a_damaged_one(build, texts):
    first = build(texts)
    (first.folder / "pairs.parquet").write_bytes(b"junk")
    build(texts).verify()
    assert [path.name for path in first.folder.parent.iterdir()] == [first.name]


def test_datasets_are_listed_oldest_first(build, texts, tmp_path):
    assert list_datasets(tmp_path / "datasets") == ()
    with pytest.raises(DataError, match="there is no dataset in") as caught:
        latest(tmp_path / "datasets")
    assert caught.value.hint == "vecmigrate dataset build"
    one, two = build(texts), build(texts, settings=DatasetSection(seed=1))
    (tmp_path / "datasets" / "notes").mkdir()
    assert [dataset.hash for dataset in list_datasets(tmp_path / "datasets")] == [one.hash, two.hash]
    assert latest(tmp_path / "datasets").hash == two.hash


# On disk.


def test_files_are_for_their_owner_alone(build, texts):
    folder = build(texts).folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    names = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    files = ("chunks.parquet", "queries.parquet", "judgments.parquet", "pairs.parquet", "candidates.parquet", "pool.parquet")
    assert names == dict.fromkeys((*files, "manifest.json"), 0o600)


# What is refused.


def test_five_queries_in_all_are_refused_before_anything_is_read(tmp_path, texts, settings):
    store, control = store_of(texts)
    store.scan = None
    with pytest.raises(DataError, match="5 usable queries in the judged log; at least 10 are needed"):
        build_dataset(store, control, ENCODER, asked(texts, 5), settings, tmp_path / "datasets")
    assert not (tmp_path / "datasets").exists()


def test_queries_whose_chunks_are_gone_are_counted_and_may_be_too_few(build, texts, tmp_path):
    left = {id: text for id, text in texts.items() if not "c000" <= id < "c020"}
    dataset = build(left, asked(texts))
    assert "left out 20 judgments on chunks that are no longer in the store, and 20 queries with them" in dataset.report
    few = {id: text for id, text in texts.items() if not "c000" <= id < "c055"}
    with pytest.raises(DataError, match="5 usable queries whose chunks are still in the store"):
        build(few, asked(texts))
    assert [path.name for path in (tmp_path / "datasets").iterdir()] == [dataset.name]


def test_an_empty_collection_is_refused(build, texts):
    with pytest.raises(DataError, match="the collection docs has no chunk with text"):
        build({"c000": " "}, asked(texts))


def test_another_encoder_than_the_controls_is_refused(tmp_path, texts, settings):
    store, control = store_of(texts)
    with pytest.raises(WrongSpace, match="docs@v0 was made by hashing-plain-64, and the encoder is hashing-other-64"):
        build_dataset(store, control, HashingEncoder(64, "other"), asked(texts), settings, tmp_path / "datasets")


def test_a_folder_that_cannot_be_written_is_named(build, texts, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match=r"the dataset folder .*file/datasets cannot be written: Not a directory"):
        build(texts, folder=tmp_path / "file" / "datasets")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which Linux has")
def test_a_full_disk_leaves_nothing(build, texts, tmp_path, monkeypatch):
    def full(path, columns, batches):
        with open("/dev/full", "wb", buffering=0) as file:  # noqa: PTH123
            file.write(b"x")

    monkeypatch.setattr(storage, "write_table", full)
    with pytest.raises(DataError, match="cannot be written: No space left on device"):
        build(texts)
    assert list((tmp_path / "datasets").iterdir()) == []


def test_lone_surrogates_are_frozen_as_question_marks(build, texts):
    odd = {**texts, "c119": "half a pair \ud800 here"}
    assert build(odd).text(["c119"]) == {"c119": "half a pair ? here"}


# A live store.


class Moving(MemoryStore):
    """Gets a row the moment that its scan is over."""

    def scan(self, *, batch_size=1000):
        yield from super().scan(batch_size=batch_size)
        for place, query in enumerate(self.queries):
            self.put(Chunk(f"new{place}", query), ENCODER.encode_documents([query])[0])


def test_rows_written_while_it_is_built_are_in_no_pair_and_no_pool(tmp_path, texts, settings):
    store, control = store_of(texts)
    store.__class__ = Moving
    store.queries = [query.text for query in asked(texts).queries]
    dataset = build_dataset(store, control, ENCODER, asked(texts), settings, tmp_path)
    assert set(dataset.dev_set().pool) == set(texts)
    assert any(line.endswith("have no text, or were written while the dataset was being built") for line in dataset.report)
    assert all(negative in texts.values() for pair in dataset.training_pairs() for negative in pair.negatives)


# Killed.


BUILD = """
    import sys, time
    from pathlib import Path
    sys.path.insert(0, {here!r})
    from dataset_corpus import ENCODER, asked, corpus, store_of
    from vecmigrate.config import DatasetSection
    from vecmigrate.dataset import build_dataset, storage

    def slow(name):
        real = getattr(storage, name)
        def wait(*args, **kwargs):
            print(name, flush=True)
            time.sleep({pause} if name == {where!r} else 0)
            return real(*args, **kwargs)
        setattr(storage, name, wait)

    for name in ("write_table", "publish", "read_table"):
        slow(name)
    store, control = store_of(corpus())
    print(build_dataset(store, control, ENCODER, asked(corpus()), DatasetSection(), Path({folder!r})).hash)
"""


def start_build(folder, where="", pause=0):
    code = textwrap.dedent(BUILD).format(here=str(Path(__file__).parent), folder=str(folder), where=where, pause=pause)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


@pytest.mark.parametrize("where", ["write_table", "read_table", "publish"])
def test_a_killed_build_leaves_no_dataset_and_the_next_one_cleans_up(build, texts, tmp_path, where):
    folder = tmp_path / "datasets"
    with start_build(folder, where, 60) as process:
        for line in process.stdout:
            if line.strip() == where:
                break
        process.send_signal(signal.SIGKILL)
    (left_over,) = folder.iterdir()
    assert left_over.name.startswith(".building-")
    assert list_datasets(folder) == ()
    dataset = build(texts)
    dataset.verify()
    assert [path.name for path in folder.iterdir()] == [dataset.name]


def test_a_build_that_is_running_is_left_alone(build, texts, tmp_path):
    folder = tmp_path / "datasets"
    with start_build(folder, "read_table", 1) as process:
        for line in process.stdout:
            if line.strip() == "read_table":
                break
        dataset = build(texts)
        rest = process.stdout.read()
    assert process.returncode == 0
    assert rest.split()[-1] == dataset.hash
    assert [path.name for path in folder.iterdir()] == [dataset.name]


def test_an_abandoned_folder_without_a_lock_goes_after_an_hour(build, texts, tmp_path):
    old, young = tmp_path / "datasets" / ".building-old", tmp_path / "datasets" / ".building-young"
    for place in (old, young):
        place.mkdir(parents=True)
    os.utime(old, (time.time() - 4000, time.time() - 4000))
    build(texts)
    assert (old.exists(), young.exists()) == (False, True)


# Memory.


class Endless(MemoryStore):
    """Scans as many chunks as asked for, made as they are read; searches a few."""

    size = 0

    def scan(self, *, batch_size=1000):
        yield from super().scan(batch_size=batch_size)
        for start in range(0, self.size, batch_size):
            yield [Chunk(f"extra{i:07d}", f"{i} " * 200) for i in range(start, start + batch_size)]


def peak_of(size, folder, texts):
    store, control = store_of(texts)
    store.__class__ = Endless
    store.size = size
    tracemalloc.start()
    try:
        dataset = build_dataset(store, control, ENCODER, asked(texts), DatasetSection(), folder)
        return dataset.counts["chunks"], tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_collection(tmp_path, texts):
    peak_of(1000, tmp_path / "warm", texts)
    small_count, small = peak_of(4000, tmp_path / "small", texts)
    large_count, large = peak_of(20_000, tmp_path / "large", texts)
    assert (small_count, large_count) == (4120, 20_120)
    assert large < small + 2_000_000
