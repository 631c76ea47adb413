"""A frozen dataset is refused when anything in it was touched."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from vecmigrate.dataset import Dataset, Split, TrainingPair
from vecmigrate.errors import DataError

from .dataset_corpus import asked

READERS = {
    "chunks.parquet": lambda dataset: dataset.chunk_ids,
    "queries.parquet": lambda dataset: dataset.queries("train"),
    "judgments.parquet": lambda dataset: dataset.judgments("train"),
    "pairs.parquet": lambda dataset: dataset.trained_chunks,
    "candidates.parquet": lambda dataset: dataset.candidates(),
    "pool.parquet": lambda dataset: dataset.dev_set(),
}


@pytest.fixture
def folder(build, texts):
    return build(texts).folder


def change_manifest(folder, change):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_it_loads_as_it_was_built(build, texts):
    built = build(texts)
    loaded = Dataset.load(built.folder)
    assert loaded == built
    assert loaded.training_pairs() == built.training_pairs()
    assert timedelta(0) <= datetime.now(UTC) - loaded.created_at < timedelta(minutes=5)
    loaded.verify()


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("damage", ["touched", "cut", "gone", "replaced"])
def test_a_touched_file_is_refused_when_it_is_first_read(folder, name, damage):
    path = folder / name
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        middle = len(content) // 2
        path.write_bytes(
            {
                "touched": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
                "cut": content[:-1],
                "replaced": b"something else",
            }[damage]
        )
    dataset = Dataset.load(folder)
    with pytest.raises(DataError, match=rf"the dataset file .*{name} is not what was frozen") as caught:
        READERS[name](dataset)
    assert caught.value.hint == "vecmigrate dataset build makes it anew"
    with pytest.raises(DataError, match=name):
        dataset.verify()


def test_the_other_files_can_still_be_read(folder):
    (folder / "pairs.parquet").write_bytes(b"junk")
    assert len(Dataset.load(folder).queries("test")) == 12


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest.update(hash="0" * 64),
        lambda manifest: manifest["parts"].update(control="0" * 64),
        lambda manifest: manifest["parts"]["settings"].update(seed=9),
        lambda manifest: manifest.pop("files"),
        lambda manifest: manifest["parts"].pop("collection"),
        lambda manifest: manifest.update(created_at="once"),
        lambda manifest: manifest.update(report=None),
    ],
)
def test_a_changed_manifest_is_refused(folder, change):
    change_manifest(folder, change)
    with pytest.raises(DataError, match=r"manifest\.json is not what was frozen"):
        Dataset.load(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "\xff"])
def test_a_manifest_that_cannot_be_read_is_refused(folder, content):
    (folder / "manifest.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(DataError, match=r"manifest\.json is not what was frozen"):
        Dataset.load(folder)


def test_another_format_says_so(folder):
    change_manifest(folder, lambda manifest: manifest["parts"].update(format=3))
    with pytest.raises(DataError, match="a dataset of another format, 3; this version reads 1 and 2") as caught:
        Dataset.load(folder)
    assert caught.value.hint == "vecmigrate dataset build makes one of this version's"


def test_a_folder_without_a_manifest_is_no_dataset(tmp_path):
    with pytest.raises(DataError, match="holds no dataset"):
        Dataset.load(tmp_path)


def test_a_split_of_another_name_is_no_split(build, texts):
    with pytest.raises(ValueError, match="'validation' is not a valid Split"):
        build(texts).queries("validation")


def test_texts_of_nothing_are_nothing(build, texts):
    assert build(texts).text([]) == {}


def test_one_text_in_many_chunks_is_found_in_each(build):
    texts = {f"c{i:04d}": f"word{i % 7} text number {i}" for i in range(3500)}
    dataset = build(texts, asked(texts))
    wanted = ["c0000", "c1500", "c2999", "c3499"]
    assert dataset.text(wanted) == {id: texts[id] for id in wanted}
    assert len(dataset.chunk_ids) == 3500


def test_pairs_are_training_pairs(build, texts):
    pair = build(texts).training_pairs()[0]
    assert isinstance(pair, TrainingPair)
    assert (pair.query_id, pair.chunk_id, pair.weight) == ("q000", "c000", 0.5)


def test_times_and_slices_survive(build, texts):
    query = build(texts).queries(Split.TEST)[0]
    assert query.at == datetime(2024, 1, 3, tzinfo=UTC)
    assert query.slices == ()
