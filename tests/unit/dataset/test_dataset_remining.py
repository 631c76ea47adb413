"""New negatives from a tuned model: which chunks are searched, by which rules, and that dev and test have no part in it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vecmigrate.config import DatasetSection
from vecmigrate.dataset import build_dataset, remine
from vecmigrate.records import Judgment
from vecmigrate.testing.encoders import HashingEncoder
from vecmigrate.testing.memory import MemoryStore, SourceRow

from .dataset_corpus import ENCODER, asked, corpus, judged_log

TUNED = HashingEncoder(32, "tuned")


def ids_by_text(texts):
    return {text: id for id, text in texts.items()}


def ranks_by(encoder, query, texts):
    """Ids of all texts by cosine to the query, best first, and the cosines by id."""
    similar = encoder.encode_documents(list(texts.values())) @ encoder.encode_queries([query])[0]
    ids = list(texts)
    return [ids[place] for place in np.argsort(-similar, kind="stable")], dict(zip(ids, similar.tolist(), strict=True))


def test_the_pairs_are_the_datasets_with_the_tuned_models_negatives(build, texts):
    dataset = build(texts)
    pairs, report = remine(dataset, TUNED, DatasetSection(negatives_per_pair=3), seed=0)
    before = dataset.training_pairs()
    assert [replace(pair, negatives=()) for pair in pairs] == [replace(pair, negatives=()) for pair in before]
    assert report.negatives == sum(len(pair.negatives) for pair in pairs) > 100
    for pair in pairs:
        ranked, similar = ranks_by(TUNED, pair.query, texts)
        for negative in pair.negatives:
            id = ids_by_text(texts)[negative]
            assert 5 <= ranked.index(id) + 1 <= 50
            assert similar[id] <= 0.95 * similar[pair.chunk_id] + 1e-6
            assert id != pair.chunk_id


def test_the_hardest_for_the_tuned_model_are_not_the_controls(build, texts):
    dataset = build(texts)
    settings = DatasetSection(negative_choice="top", negative_max_relative_score=1.0)
    by_tuned, by_control = (remine(dataset, encoder, settings, seed=0)[0] for encoder in (TUNED, ENCODER))
    assert sum(one.negatives != other.negatives for one, other in zip(by_tuned, by_control, strict=True)) > 30


def test_mining_anew_with_the_control_gives_what_was_mined(build, texts):
    dataset = build(texts)
    assert remine(dataset, ENCODER, DatasetSection(), seed=0)[0] == dataset.training_pairs()


def test_each_seed_draws_anew_and_the_same_seed_the_same(build, texts):
    dataset = build(texts)
    first, again, other = (remine(dataset, TUNED, DatasetSection(), seed=seed)[0] for seed in (1, 1, 2))
    assert first == again
    assert sum(one.negatives != two.negatives for one, two in zip(first, other, strict=True)) > 20


def test_the_report_says_what_was_searched(build, texts):
    dataset = build(texts)
    _, report = remine(dataset, TUNED, DatasetSection(), seed=0)
    assert report.lines()[:2] == [
        "mined 42 of 42 hard negatives for 42 pairs (0 by users' ratings)",
        "  searched all 120 chunks with the tuned model",
    ]


def test_thresholds_hold_here_too(build, texts):
    dataset = build(texts)
    _, report = remine(dataset, TUNED, DatasetSection(negative_margin=0.5, negatives_per_pair=9), seed=0)
    assert report.skipped["less than 0.5 less similar to the query than its relevant chunk"] > 50


def test_without_negatives_nothing_is_encoded(build, texts):
    dataset = build(texts)
    pairs, report = remine(dataset, TUNED, DatasetSection(negatives_per_pair=0), seed=0)
    assert [pair.negatives for pair in pairs] == [()] * 42
    assert (report.pairs, report.wanted) == (42, 0)


# A part of the chunks.


class Counting(HashingEncoder):
    """Notes the documents that it was given."""

    def __init__(self):
        super().__init__(32, "tuned")
        self.seen = []

    def encode_documents(self, texts):
        self.seen += texts
        return super().encode_documents(texts)


def test_of_a_large_dataset_the_judged_the_candidates_and_a_random_rest_are_searched(build):
    texts = corpus(400)
    dataset = build(texts, asked(texts, 30), DatasetSection(negative_last_rank=8))
    encoder = Counting()
    pairs, report = remine(dataset, encoder, DatasetSection(remine_chunks=200), seed=0)
    seen = {ids_by_text(texts)[text] for text in encoder.seen}
    assert len(encoder.seen) == len(seen) == 200
    assert {j.chunk_id for j in dataset.judgments("train")} <= seen
    candidates = {id for ids in dataset.candidates().values() for id in ids}
    assert len(candidates) > 60
    assert candidates <= seen
    assert {text for pair in pairs for text in pair.negatives} <= set(encoder.seen)
    assert report.notes == ("searched 200 of 400 chunks with the tuned model: judged ones, the control's candidates, and a random rest",)


def test_judged_chunks_are_searched_even_beyond_the_limit(build, texts):
    encoder = Counting()
    pairs, report = remine(build(texts), encoder, DatasetSection(remine_chunks=5), seed=0)
    assert len(encoder.seen) == 42
    assert "searched 42 of 120 chunks" in report.notes[0]
    assert len(pairs) == 42


def test_the_best_ranked_candidates_of_all_queries_come_first(build):
    texts = corpus(400)
    dataset = build(texts, asked(texts, 30))
    encoder = Counting()
    remine(dataset, encoder, DatasetSection(remine_chunks=60), seed=0)
    seen = {ids_by_text(texts)[text] for text in encoder.seen}
    judged = {j.chunk_id for j in dataset.judgments("train")}
    assert {ids[0] for ids in dataset.candidates().values()} <= seen | judged


# No leak.


def test_judgments_on_dev_and_test_queries_change_nothing(build, texts):
    """The same training queries, but the others' answers are chunks that nobody asked for before."""
    judged = asked(texts)
    moved = [j if j.query_id < "q042" else Judgment(j.query_id, f"c{100 + int(j.query_id[1:]) - 42}", 1.0, 0.5) for j in judged.judgments]
    one, other = build(texts, judged), build(texts, judged_log(judged.queries, moved))
    assert one.hash != other.hash
    for settings in (DatasetSection(), DatasetSection(remine_chunks=60)):
        assert remine(one, TUNED, settings, seed=0) == remine(other, TUNED, settings, seed=0)


def test_dev_and_test_files_are_not_read(build, texts):
    dataset = build(texts)
    (dataset.folder / "pool.parquet").write_bytes(b"junk")
    pairs, _ = remine(dataset, TUNED, DatasetSection(remine_chunks=60), seed=0)
    assert len(pairs) == 42


# What the dataset carries.


def passing_log(texts):
    """Users of every query were shown the chunk of the next one above the one they chose, and one that is gone."""
    judged = asked(texts)
    passed = {query.id: frozenset({f"c{int(query.id[1:]) + 60:03d}", "gone"}) for query in judged.queries}
    return replace(judged, passed_over=passed)


def test_what_users_passed_over_is_frozen_for_training_queries(build, texts):
    dataset = build(texts, passing_log(texts))
    assert dataset.passed_over() == {f"q{i:03d}": frozenset({f"c{i + 60:03d}"}) for i in range(42)}
    assert any("42 that users passed over" in line for line in dataset.report)
    for pair in dataset.training_pairs():
        assert pair.negatives == (texts[f"c{int(pair.query_id[1:]) + 60:03d}"],)


def test_what_users_passed_over_comes_first_again(build, texts):
    pairs, report = remine(build(texts, passing_log(texts)), TUNED, DatasetSection(), seed=0)
    assert report.passed_over > 30
    assert sum(pair.negatives == (texts[f"c{int(pair.query_id[1:]) + 60:03d}"],) for pair in pairs) == report.passed_over


def test_no_negative_is_of_its_answers_document(tmp_path, texts):
    vectors = ENCODER.encode_documents(list(texts.values()))
    rows = [
        SourceRow(id, text, vector, {"file_id": f"f{int(id[1:]) // 6}"}) for (id, text), vector in zip(texts.items(), vectors, strict=True)
    ]
    store = MemoryStore(rows)
    dataset = build_dataset(store, store.adopt(ENCODER.model), ENCODER, asked(texts), DatasetSection(), tmp_path)
    pairs, report = remine(dataset, TUNED, DatasetSection(negatives_per_pair=9), seed=0)
    assert report.skipped["of the same document as a relevant chunk"] > 20
    for pair in pairs:
        file = int(pair.chunk_id[1:]) // 6
        assert all(int(ids_by_text(texts)[text][1:]) // 6 != file for text in pair.negatives)


def test_a_damaged_dataset_is_refused(build, texts):
    from vecmigrate.errors import DataError

    dataset = build(texts)
    (dataset.folder / "candidates.parquet").write_bytes(b"junk")
    with pytest.raises(DataError, match=r"candidates\.parquet is not what was frozen"):
        remine(dataset, TUNED, DatasetSection(), seed=0)
