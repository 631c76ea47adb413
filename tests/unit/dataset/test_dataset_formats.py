"""What a dataset has carried since format 2, and that one of format 1 is read still."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vecmigrate.config import DatasetSection
from vecmigrate.dataset import Dataset, GradedPair, TrainingPair, foreign_datasets, latest, list_datasets, met_in_training, remine, storage
from vecmigrate.errors import DataError
from vecmigrate.querylog import JudgedLog, JudgmentReport
from vecmigrate.records import Judgment, Query
from vecmigrate.testing.encoders import HashingEncoder
from vecmigrate.versions import fingerprint_of

from .dataset_corpus import asked, judged_log

# Grades.


def rated(texts):
    """The log in which q000's chunk has grade 3, and in which q001 and q050 have a chunk that is not relevant."""
    judged = asked(texts)
    graded = [replace(j, grade=3.0) if j.query_id == "q000" else j for j in judged.judgments]
    return judged_log(judged.queries, [*graded, Judgment("q001", "c110", 0.0, 0.75), Judgment("q050", "c111", 0.0)])


def test_pairs_carry_the_grade_of_their_judgment(build, texts):
    pairs = build(texts, rated(texts)).training_pairs()
    assert [pair.grade for pair in pairs[:3]] == [3.0, 1.0, 1.0]
    assert [pair.weight for pair in pairs[:3]] == [0.5, 0.5, 0.5]


def test_graded_pairs_are_all_judgments_on_training_queries_not_relevant_ones_too(build, texts):
    dataset = build(texts, rated(texts))
    graded = dataset.graded_pairs()
    query = " ".join(texts["c001"].split()[:4])
    assert graded[0] == GradedPair("q000", "c000", " ".join(texts["c000"].split()[:4]), texts["c000"], 3.0, 0.5)
    assert graded[1:3] == (
        GradedPair("q001", "c001", query, texts["c001"], 1.0, 0.5),
        GradedPair("q001", "c110", query, texts["c110"], 0.0, 0.75),
    )
    assert {pair.query_id for pair in graded} == {query.id for query in dataset.queries("train")}
    assert len(graded) == 43


# Candidates.


def test_what_was_looked_at_is_kept_for_training_queries_in_the_controls_order(build, texts):
    dataset = build(texts)
    candidates = dataset.candidates()
    assert sorted(candidates) == [query.id for query in dataset.queries("train")]
    assert {len(ids) for ids in candidates.values()} == {46}
    texts_of = dataset.text(dataset.chunk_ids)
    for pair in dataset.training_pairs():
        assert set(pair.negatives) <= {texts_of[id] for id in candidates[pair.query_id]}


def test_without_negatives_nothing_was_looked_at(build, texts):
    dataset = build(texts, settings=DatasetSection(negatives_per_pair=0))
    assert set(dataset.candidates().values()) == {()}


def test_what_users_passed_over_changes_the_hash(build, texts):
    judged = asked(texts)
    passed = replace(judged, passed_over={"q000": frozenset({"c110"})})
    assert build(texts, judged).hash != build(texts, passed).hash


def test_what_users_passed_over_for_dev_and_test_queries_is_not_kept(build, texts):
    judged = asked(texts)
    passed = replace(judged, passed_over={"q045": frozenset({"c110"}), "q055": frozenset({"c111"}), "nobody": frozenset({"c112"})})
    assert build(texts, judged).hash == build(texts, passed).hash


def test_a_judged_log_need_not_say_what_was_passed_over():
    assert JudgedLog((), (), JudgmentReport(0, 0, 0, 0)).passed_over == {}


# Format 1, as the first version wrote it.


OLD = {
    "chunks.parquet": (
        {"id": "string", "text": "string", "text_hash": "string"},
        [(f"c{i}", f"text {i} of word{i}", f"{i:064x}") for i in range(12)],
    ),
    "queries.parquet": (
        {"id": "string", "text": "string", "group": "string", "split": "string", "at": "utc", "slices": "[string]"},
        [
            ("q0", "word0", "g0", "train", None, ["short"]),
            ("q1", "word1", "g1", "train", None, []),
            ("q2", "word2", "g2", "test", None, []),
        ],
    ),
    "judgments.parquet": (
        {"query_id": "string", "chunk_id": "string", "grade": "double", "weight": "double"},
        [("q0", "c0", 2.0, 0.5), ("q1", "c1", 1.0, 1.0), ("q1", "c3", 0.0, 1.0), ("q2", "c2", 1.0, 1.0)],
    ),
    "pairs.parquet": (
        {"query_id": "string", "chunk_id": "string", "negatives": "[string]", "weight": "double"},
        [("q0", "c0", ["c5"], 0.5), ("q1", "c1", ["c3"], 1.0)],
    ),
    "pool.parquet": ({"kind": "string", "id": "string"}, [("chunk", "c0")]),
}


@pytest.fixture
def old(tmp_path):
    folder = tmp_path / "datasets"
    parts = {"format": 1, "collection": "docs", "control": "f" * 64, "settings": {"negatives_per_pair": 1}, "chunks": "0" * 64}
    with storage.workspace(folder) as place:
        for name, (columns, rows) in OLD.items():
            storage.write_table(place / name, columns, [rows])
        manifest = {
            "hash": fingerprint_of(parts),
            "parts": parts,
            "files": {name: storage.file_digest(place / name) for name in OLD},
            "created_at": "2026-01-01T00:00:00+00:00",
            "counts": {"chunks": 12},
            "report": [],
        }
        storage.publish(place, manifest, folder / "old")
    return Dataset.load(folder / "old")


def test_a_dataset_of_format_1_is_read_with_the_grades_of_its_judgments(old):
    old.verify()
    assert old.training_pairs() == (
        TrainingPair("q0", "c0", "word0", "text 0 of word0", ("text 5 of word5",), 0.5, 2.0),
        TrainingPair("q1", "c1", "word1", "text 1 of word1", ("text 3 of word3",), 1.0, 1.0),
    )
    assert [(pair.chunk_id, pair.grade) for pair in old.graded_pairs()] == [("c0", 2.0), ("c1", 1.0), ("c3", 0.0)]
    assert (old.candidates(), old.passed_over()) == ({}, {})
    assert {row["document"] for row in old.outlines()} == {""}


def test_a_dataset_of_format_1_still_says_what_was_trained_on(old):
    assert met_in_training([Query("new", "Word0 ?"), Query("other", "something else")], [old]) == {"new"}


def test_a_dataset_of_format_1_can_be_mined_anew(old):
    pairs, report = remine(old, HashingEncoder(64), DatasetSection(), seed=0)
    assert [pair.negatives for pair in pairs][1] == ("text 3 of word3",)
    assert (len(pairs), report.explicit) == (2, 1)


def test_old_and_new_datasets_are_listed_together(old, build, texts):
    new = build(texts, folder=old.folder.parent)
    assert [dataset.hash for dataset in list_datasets(old.folder.parent)] == [old.hash, new.hash]


# Formats of versions to come.


@pytest.fixture
def foreign(tmp_path):
    """A dataset whose format is not known yet, and of which no more is known."""
    folder = tmp_path / "datasets" / "f0e1"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"parts": {"format": 99}, "made": "otherwise"}', encoding="utf-8")
    return folder


def test_a_dataset_of_another_format_is_passed_over_where_others_are_fine(build, texts, foreign):
    dataset = build(texts)
    assert list_datasets(foreign.parent) == (dataset,)
    assert latest(foreign.parent) == dataset
    assert foreign_datasets(foreign.parent) == (foreign,)


def test_where_there_is_no_other_its_format_is_said(foreign):
    assert list_datasets(foreign.parent) == ()
    for look in (lambda: latest(foreign.parent), lambda: Dataset.load(foreign)):
        with pytest.raises(DataError, match="f0e1 is a dataset of another format, 99; this version reads 1 and 2") as caught:
            look()
        assert caught.value.hint == "vecmigrate dataset build makes one of this version's"


def test_a_damaged_one_is_never_passed_over(build, texts, foreign):
    """It may be the newest, and an older one in its place would be a wrong answer."""
    build(texts)
    (foreign / "manifest.json").write_text("{", encoding="utf-8")
    for look in (list_datasets, latest, foreign_datasets):
        with pytest.raises(DataError, match="is not what was frozen"):
            look(foreign.parent)


def test_no_dataset_of_ours_is_foreign(old, build, texts):
    build(texts, folder=old.folder.parent)
    assert foreign_datasets(old.folder.parent) == ()
