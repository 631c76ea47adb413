"""Which metadata key names a chunk's document: what is detected, what is not, and what the operator says."""

from __future__ import annotations

import uuid

import pytest

from vecmigrate.config import DatasetSection
from vecmigrate.dataset import Dataset, build_dataset
from vecmigrate.dataset.documents import DocumentKey, find_document_key
from vecmigrate.errors import DataError
from vecmigrate.records import Chunk
from vecmigrate.testing.memory import MemoryStore, SourceRow

from .dataset_corpus import ENCODER, asked, corpus


def chunks(*metadata):
    return [Chunk(str(number), "text", found) for number, found in enumerate(metadata)]


def split_into(documents, key="file_id", size=100):
    return chunks(*({key: f"d{number % documents}"} for number in range(size)))


def test_a_usual_key_is_found():
    assert find_document_key(lambda: split_into(20), None) == DocumentKey("file_id")


def test_the_most_telling_key_is_taken():
    """Where a store has both, `doc_id` may be the chunk's own."""
    sample = chunks(*({"doc_id": f"c{i}", "document_id": f"d{i // 5}", "source": "upload"} for i in range(100)))
    assert find_document_key(lambda: sample, None).key == "document_id"


@pytest.mark.parametrize(
    ("sample", "why"),
    [
        (split_into(9), "too few documents"),
        (split_into(50, key="colour"), "not a usual name"),
        (chunks(*({"source": "web"} for _ in range(30)), *({"source": f"d{i}"} for i in range(70))), "one value is a category's"),
        (chunks(*({"source": f"d{i // 4}"} if i < 89 else {} for i in range(100))), "one chunk in nine lacks it"),
        (chunks(*({"file_id": [f"d{i}"]} for i in range(50))), "lists name nothing"),
        (chunks(*({"file_id": " "} for _ in range(50))), "blank"),
        ([], "nothing to look at"),
    ],
)
def test_what_does_not_tell_documents_is_not_taken(sample, why):
    assert find_document_key(lambda: sample, None) == DocumentKey(), why


def listed(key, largest, others=100, size=4):
    """Chunks of which one value of the key holds `largest`, and each other one `size`."""
    return chunks(*({key: "faq"} for _ in range(largest)), *({key: f"d{i // size}"} for i in range(others)))


@pytest.mark.parametrize("key", ["url", "uri", "source"])
def test_a_place_that_lists_many_things_is_no_document(key):
    """The entries of one page of questions and answers are good negatives of each other."""
    assert find_document_key(lambda: listed(key, 20), None) == DocumentKey(key)
    assert find_document_key(lambda: listed(key, 21), None) == DocumentKey(list_like=key, largest=21)


@pytest.mark.parametrize("key", ["document_id", "file_id", "file_path"])
def test_a_long_document_that_has_an_id_stays_one(key):
    assert find_document_key(lambda: listed(key, 24), None) == DocumentKey(key)


def test_an_id_is_taken_before_the_place_that_it_came_from():
    sample = chunks(*({"url": f"u{i}", "source": f"s{i // 2}", "filename": f"f{i // 5}"} for i in range(100)))
    assert find_document_key(lambda: sample, None).key == "filename"


def test_a_place_that_lists_things_makes_way_for_a_finer_one():
    sample = chunks(*({"url": f"page{i // 25}" if i < 50 else f"u{i}", "source": f"s{i // 3}"} for i in range(150)))
    assert find_document_key(lambda: sample, None) == DocumentKey("source")


def test_nine_in_ten_chunks_with_the_key_are_enough():
    assert find_document_key(lambda: chunks(*({"source": f"d{i // 4}"} if i < 90 else {} for i in range(100))), None).key == "source"


def test_what_the_operator_names_holds_whatever_is_in_it():
    """And nothing need be sampled for it."""
    assert find_document_key(pytest.fail, "colour") == DocumentKey("colour", named=True)
    assert find_document_key(pytest.fail, "") == DocumentKey(turned_off=True)


@pytest.mark.parametrize(
    ("value", "document"),
    [
        ("a.pdf", "a.pdf"),
        (7, "7"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (None, ""),
        (True, ""),
        ({}, ""),
        ([1], ""),
        (" ", ""),
    ],
)
def test_a_document_is_a_plain_value(value, document):
    assert DocumentKey("k").of(Chunk("c", "text", {"k": value})) == document


def test_without_a_key_no_chunk_has_a_document():
    assert DocumentKey().of(Chunk("c", "text", {"": "x", "file_id": "d"})) == ""


def test_the_lines_say_how_documents_are_told_apart():
    assert DocumentKey("file_id").lines(90, 1000) == [
        "  90 of 1,000 chunks name their document by the metadata key 'file_id' (detected; [dataset] document_key = \"\" turns it off)"
    ]
    assert DocumentKey("f", named=True).lines(5, 5) == ["  5 of 5 chunks name their document by the metadata key 'f' (as named)"]
    assert DocumentKey().lines(0, 5) == [
        "  no metadata key names the chunks' documents, so parts of an answer's own document may become its negatives"
    ]
    assert DocumentKey(list_like="uri", largest=120).lines(0, 5) == [
        "  the metadata key 'uri' was not taken for the chunks' documents: 120 sampled chunks share one value, as on a page of many entries; "
        '[dataset] document_key = "uri" takes it'
    ]
    assert DocumentKey(turned_off=True).lines(0, 5) == ["  documents are not told apart: [dataset] document_key is empty"]


# In a dataset.


def build(folder, document_of, **settings) -> Dataset:
    texts = corpus()
    vectors = ENCODER.encode_documents(list(texts.values()))
    rows = [SourceRow(id, text, vector, document_of(id)) for (id, text), vector in zip(texts.items(), vectors, strict=True)]
    store = MemoryStore(rows)
    section = DatasetSection(**{"negatives_per_pair": 9, **settings})
    return build_dataset(store, store.adopt(ENCODER.model), ENCODER, asked(texts), section, folder)


def by_six(id):
    """Documents of six chunks."""
    return {"file_id": f"f{int(id[1:]) // 6}"}


def own_document_negatives(dataset):
    id_of = {text: id for id, text in dataset.text(dataset.chunk_ids).items()}
    return sum(by_six(id_of[text]) == by_six(pair.chunk_id) for pair in dataset.training_pairs() for text in pair.negatives)


def test_no_negative_is_of_its_answers_document(tmp_path):
    with_key, without = build(tmp_path, by_six), build(tmp_path, by_six, document_key="")
    assert own_document_negatives(with_key) == 0
    assert own_document_negatives(without) > 5
    assert any("candidates skipped: of the same document as a relevant chunk" in line for line in with_key.report)
    assert any("120 of 120 chunks name their document by the metadata key 'file_id'" in line for line in with_key.report)


def test_a_named_key_is_used(tmp_path):
    dataset = build(tmp_path, lambda id: {"book": by_six(id)["file_id"]}, document_key="book")
    assert own_document_negatives(dataset) == 0


def test_a_named_key_that_no_chunk_has_is_refused(tmp_path):
    with pytest.raises(DataError, match="no chunk has the metadata key 'fileid' that \\[dataset\\] document_key names") as caught:
        build(tmp_path, by_six, document_key="fileid")
    assert caught.value.hint == "the chunks' metadata keys: file_id"
    assert list(tmp_path.iterdir()) == []


def test_documents_are_part_of_the_identity(tmp_path):
    one, other = (build(tmp_path, told, negatives_per_pair=0) for told in (by_six, lambda id: {"file_id": f"f{int(id[1:]) // 5}"}))
    assert one.parts["pairs"] == other.parts["pairs"]
    assert one.hash != other.hash


def test_outlines_name_the_documents(tmp_path):
    outlines = {row["id"]: row for row in build(tmp_path, by_six).outlines()}
    assert outlines["c013"]["document"] == "f2"
    assert set(outlines["c013"]) == {"id", "text_hash", "document"}
