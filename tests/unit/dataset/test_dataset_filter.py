"""The cross-encoder's word: what it keeps out, that it reads only what is drawn, and which models may have it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from vecmigrate.config import DatasetSection
from vecmigrate.dataset import build_dataset, remine
from vecmigrate.dataset.cross_encoder import load_cross_encoder
from vecmigrate.dataset.filtering import NO_TEXT
from vecmigrate.errors import ModelError
from vecmigrate.records import Judgment
from vecmigrate.testing.memory import MemoryStore

from .dataset_corpus import ENCODER, asked, corpus, store_of
from .mining_world import ABOVE, POSITIVE, mined

# By rank: n40, n50, n60, n70.
SPREAD = {**ABOVE, "pos": 20, "n40": -40, "n50": -50, "n60": -60, "n70": -70}


class Table:
    """Scores by the chunk's id, which its text begins with; notes what it was asked."""

    name = "the table"

    def __init__(self, **scores):
        self.scores = scores
        self.rounds = []

    def score(self, pairs):
        self.rounds.append([text.split()[0] for _, text in pairs])
        return np.array([self.scores.get(text.split()[0], 0.0) for _, text in pairs])


def test_a_candidate_that_answers_about_as_well_is_skipped():
    scorer = Table(pos=0.8, n40=0.79, n50=0.4, n60=0.39)
    pairs, report = mined(SPREAD, [POSITIVE], scorer=scorer, negatives_per_pair=2, negative_choice="top")
    assert pairs[0].negatives == ("n60", "n70")
    assert report.skipped["at least 0.5 times its relevant chunk's score by the table"] == 2
    assert "  2 of 5 candidates skipped: at least 0.5 times its relevant chunk's score by the table" in report.lines()


def test_the_share_can_be_said():
    scorer = Table(pos=0.8, n40=0.79, n50=0.7)
    pairs, _ = mined(SPREAD, [POSITIVE], scorer=scorer, negative_choice="top", negative_filter_share=0.9)
    assert pairs[0].negatives == ("n50",)


def test_only_what_is_drawn_is_read():
    scorer = Table(pos=0.8, n40=0.79)
    mined(SPREAD, [POSITIVE], scorer=scorer, negatives_per_pair=2, negative_choice="top")
    assert scorer.rounds == [["pos"], ["n40", "n50"], ["n60"]]


def test_all_pairs_of_a_batch_are_read_together():
    scorer = Table(pos=0.8, n70=0.8)
    both = [POSITIVE, Judgment("q", "n70", 1.0)]
    pairs, _ = mined(SPREAD, both, scorer=scorer, negative_choice="top", negative_near_duplicate=1.0, negative_max_relative_score=1.0)
    assert {pair.chunk_id: pair.negatives for pair in pairs} == {"pos": ("n40",), "n70": ()}
    assert scorer.rounds == [["pos"], ["n40"]]


def test_when_everything_answers_a_pair_is_short():
    scorer = Table(pos=0.1, n40=1.0, n50=1.0, n60=1.0, n70=1.0)
    pairs, report = mined(SPREAD, [POSITIVE], scorer=scorer)
    assert pairs[0].negatives == ()
    assert (report.short, report.skipped["at least 0.5 times its relevant chunk's score by the table"]) == (1, 4)


def test_what_people_rated_is_not_asked_about():
    scorer = Table(pos=0.8, n40=1.0)
    pairs, _ = mined(SPREAD, [POSITIVE, Judgment("q", "n40", 0.0)], scorer=scorer)
    assert pairs[0].negatives == ("n40",)
    assert scorer.rounds == [[]]


def test_what_users_passed_over_is():
    scorer = Table(pos=0.8, n60=1.0)
    pairs, report = mined(SPREAD, [POSITIVE], scorer=scorer, passed_over={"q": frozenset({"n60"})}, negative_choice="top")
    assert pairs[0].negatives == ("n40",)
    assert report.passed_over == 0


@pytest.mark.parametrize(("gone", "negatives", "skipped"), [("n40", ("n50",), 1), ("pos", (), 4)])
def test_a_chunk_whose_text_is_gone_is_skipped_and_counted(monkeypatch, gone, negatives, skipped):
    fetch = MemoryStore.fetch
    monkeypatch.setattr(MemoryStore, "fetch", lambda store, ids: {id: c for id, c in fetch(store, ids).items() if id != gone})
    pairs, report = mined(SPREAD, [POSITIVE], scorer=Table(pos=0.8), negative_choice="top")
    assert pairs[0].negatives == negatives
    assert report.skipped[NO_TEXT] == skipped


# Models.


@pytest.fixture(scope="module")
def cross_encoders(tmp_path_factory, minilm):
    """Random one-layer cross-encoders: as transformers saves one, as sentence-transformers does, and one of two outputs."""
    import torch
    from sentence_transformers import CrossEncoder
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    from vecmigrate.encoding.loading import quiet_bars

    root = tmp_path_factory.mktemp("cross")
    torch.manual_seed(0)
    with quiet_bars():
        for name, labels in (("plain", 1), ("two", 2)):
            config = BertConfig(
                hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, num_labels=labels, initializer_range=0.5
            )
            BertForSequenceClassification(config).save_pretrained(root / name)
            AutoTokenizer.from_pretrained(minilm).save_pretrained(root / name)
        CrossEncoder(str(root / "plain"), device="cpu").save_pretrained(str(root / "saved"))
    return root


PAIRS = [("how do I get my money back", "Refunds take five days."), ("how do I get my money back", "The lift is out of order.")]


@pytest.mark.parametrize("name", ["plain", "saved"])
def test_scores_are_the_sigmoid_of_what_the_model_says(cross_encoders, name):
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(cross_encoders / "plain")
    model = AutoModelForSequenceClassification.from_pretrained(cross_encoders / "plain").eval()
    with torch.inference_mode():
        logits = model(**tokenizer(PAIRS, padding=True, return_tensors="pt")).logits.squeeze(1)
    scorer = load_cross_encoder(str(cross_encoders / name))
    assert scorer.score(PAIRS).tolist() == pytest.approx(torch.sigmoid(logits).tolist(), abs=1e-5)
    assert scorer.score([]).tolist() == []
    assert scorer.name == str(cross_encoders / name)


def test_a_lone_surrogate_can_be_read(cross_encoders):
    assert load_cross_encoder(str(cross_encoders / "saved")).score([("half \ud800", "text \udfff")]).shape == (1,)


def test_an_embedding_model_is_no_cross_encoder(minilm):
    """The library would load it with a head of random numbers, and say nothing but a log line."""
    with pytest.raises(ModelError, match="is no cross-encoder: it has no head that scores a pair of texts") as caught:
        load_cross_encoder(str(minilm))
    assert caught.value.hint == "[dataset] negative_filter takes a sentence-transformers cross-encoder: its directory or hub name"


def test_a_model_of_two_scores_is_refused(cross_encoders):
    with pytest.raises(ModelError, match="two gives 2 scores for a pair; one is needed"):
        load_cross_encoder(str(cross_encoders / "two"))


def test_a_directory_that_is_not_there_is_named():
    with pytest.raises(ModelError, match="there is no model directory /no/such/model"):
        load_cross_encoder("/no/such/model")


def test_pickled_weights_are_refused(cross_encoders, tmp_path):
    copy = Path(shutil.copytree(cross_encoders / "plain", tmp_path / "copy"))
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"keeps its weights in pytorch_model\.bin, a pickle"):
        load_cross_encoder(str(copy))


def test_a_damaged_one_is_named(cross_encoders, tmp_path):
    copy = Path(shutil.copytree(cross_encoders / "saved", tmp_path / "copy"))
    (copy / "model.safetensors").write_bytes(b"junk")
    with pytest.raises(ModelError, match="copy cannot be loaded as a cross-encoder"):
        load_cross_encoder(str(copy))


def test_a_model_that_brings_its_own_code_is_not_run(cross_encoders, tmp_path):
    copy = Path(shutil.copytree(cross_encoders / "plain", tmp_path / "copy"))
    config = json.loads((copy / "config.json").read_text())
    auto = {"AutoConfig": "own.OwnConfig", "AutoModelForSequenceClassification": "own.Own"}
    (copy / "config.json").write_text(json.dumps({**config, "model_type": "own", "auto_map": auto}))
    (copy / "own.py").write_text("raise SystemExit('was run')")
    with pytest.raises(ModelError, match="cannot be loaded as a cross-encoder"):
        load_cross_encoder(str(copy))


def test_weights_that_are_no_numbers_are_found_out(cross_encoders, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    copy = Path(shutil.copytree(cross_encoders / "saved", tmp_path / "copy"))
    weights = load_file(copy / "model.safetensors")
    weights["classifier.bias"] = torch.full_like(weights["classifier.bias"], float("nan"))
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match="gave a score that is not a number"):
        load_cross_encoder(str(copy)).score(PAIRS)


def test_a_dataset_is_built_and_mined_anew_with_a_cross_encoder(cross_encoders, tmp_path):
    texts = corpus()
    store, control = store_of(texts)
    name = str(cross_encoders / "saved")
    settings = DatasetSection(negative_filter=name, negative_filter_share=0.9, negatives_per_pair=2)
    dataset = build_dataset(store, control, ENCODER, asked(texts), settings, tmp_path)
    scorer = load_cross_encoder(name)
    pairs, report = remine(dataset, ENCODER, settings, seed=3)
    reason = f"at least 0.9 times its relevant chunk's score by {name}"
    assert any(reason in line for line in dataset.report)
    assert report.skipped[reason] > 0
    for pair in (*dataset.training_pairs(), *pairs):
        scores = scorer.score([(pair.query, pair.positive), *((pair.query, text) for text in pair.negatives)])
        assert (scores[1:] < 0.9 * scores[0] + 1e-4).all()
    assert sum(len(pair.negatives) for pair in pairs) > 20


def test_a_filter_that_cannot_be_had_is_said_before_anything_is_read(tmp_path):
    store, control = store_of(corpus())
    with pytest.raises(ModelError, match=r"there is no model directory \./nothing"):
        build_dataset(store, control, ENCODER, asked(corpus()), DatasetSection(negative_filter="./nothing"), tmp_path / "datasets")
    assert not (tmp_path / "datasets").exists()
