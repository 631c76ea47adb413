"""Between the base and the tuned weights: the ends, the middle, and the choice under a floor."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from training_shop import CODES, QUICK

from vecmigrate.dataset.pairs import DevSet, TrainingPair
from vecmigrate.training import TrainingRequest, train
from vecmigrate.training.blending import Blend, between, blends, choose, mean_weights

BASE = {"w": torch.tensor([0.0, 1.0]), "n": torch.tensor([3])}
TUNED = {"w": torch.tensor([1.0, 5.0]), "n": torch.tensor([4])}


def blend(share: float, score: float, probe: float | None = None) -> Blend:
    return Blend(share, np.full(4, score), probe)


@pytest.mark.parametrize(("share", "expected"), [(0.0, [0.0, 1.0]), (0.5, [0.5, 3.0]), (0.25, [0.25, 2.0]), (1.0, [1.0, 5.0])])
def test_weights_lie_on_the_line_from_the_base_to_the_tuned(share: float, expected: list[float]) -> None:
    made = between(BASE, TUNED, share)
    assert made["w"].tolist() == expected
    assert made["n"].tolist() == [4]


def test_the_tuned_end_is_the_tuned_weights_bit_for_bit() -> None:
    odd = {"w": torch.tensor([0.1, 1e-30, -7.7])}
    assert torch.equal(between({"w": torch.tensor([1e8, 3.3, 0.2])}, odd, 1.0)["w"], odd["w"])


def test_weights_in_between_keep_their_type_and_are_copies() -> None:
    low = {name: value.to(torch.bfloat16) if value.is_floating_point() else value for name, value in BASE.items()}
    assert between(low, low, 0.5)["w"].dtype == torch.bfloat16
    made = between(BASE, TUNED, 1.0)
    made["w"].zero_()
    assert TUNED["w"].tolist() == [1.0, 5.0]


def test_the_mean_of_several_is_weight_by_weight() -> None:
    third = {"w": torch.tensor([5.0, 0.0]), "n": torch.tensor([9])}
    made = mean_weights([BASE, TUNED, third])
    assert made["w"].tolist() == [2.0, 2.0]
    assert made["n"].tolist() == [3]


@pytest.mark.parametrize(
    ("made", "floor", "expected"),
    [
        ([(1.0, 0.8, 0.9), (0.6, 0.7, 0.9)], 0.5, 1.0),
        ([(1.0, 0.8, 0.4), (0.6, 0.7, 0.6), (0.2, 0.6, 0.9)], 0.5, 0.6),
        ([(1.0, 0.8, 0.4), (0.6, 0.7, 0.5)], 0.5, 0.6),
        ([(1.0, 0.8, 0.4), (0.6, 0.7, 0.49)], 0.5, None),
        ([(1.0, 0.7, None), (0.6, 0.8, None)], None, 0.6),
        ([(1.0, 0.7, 0.9), (0.6, 0.7, 0.9)], 0.5, 0.6),
    ],
    ids=["all harmless", "the ends harm", "at the floor is harmless", "all harm", "no probe", "of equals the nearest the base"],
)
def test_the_best_harmless_blend_is_chosen(
    made: list[tuple[float, float, float | None]], floor: float | None, expected: float | None
) -> None:
    chosen = choose([blend(*one) for one in made], floor)
    assert (chosen.share if chosen else None) == expected


@pytest.mark.parametrize(
    ("scores", "asked"),
    [
        ({0.8: (0.7, 0.9), 0.6: (0.9, 0.9)}, [0.8]),
        ({0.8: (0.85, 0.9), 0.6: (0.8, 0.9), 0.4: (0.9, 0.9)}, [0.8, 0.6]),
        ({0.8: (0.7, 0.1), 0.6: (0.6, 0.1), 0.4: (0.5, 0.9), 0.2: (0.4, 0.9)}, [0.8, 0.6, 0.4]),
    ],
    ids=["the first step back loses", "the second loses", "on until nothing is harmed"],
)
def test_shares_are_measured_until_a_harmless_one_finds_less(scores: dict[float, tuple[float, float]], asked: list[float]) -> None:
    measured: list[float] = []

    def measure(share: float) -> Blend:
        measured.append(share)
        return blend(share, *scores[share])

    made = blends(measure, tuple(scores), 0.5, blend(1.0, 0.8, 0.2))
    assert measured == asked
    assert [one.share for one in made] == [1.0, *asked]


# ── in a training ──


def write_probe(folder: Path, corpus: dict[str, str], asked: list[tuple[str, str]]) -> Path:
    """A probe of these chunks, and of these queries with the chunk that each is about."""
    folder.mkdir()
    (folder / "corpus.jsonl").write_text("".join(json.dumps({"id": id, "title": "", "text": text}) + "\n" for id, text in corpus.items()))
    (folder / "queries.jsonl").write_text("".join(json.dumps({"id": str(n), "text": text}) + "\n" for n, (text, _) in enumerate(asked)))
    (folder / "qrels.tsv").write_text("query\tchunk\tgrade\n" + "".join(f"{n}\t{chunk}\t1\n" for n, (_, chunk) in enumerate(asked)))
    return folder


@pytest.mark.slow
def test_weights_in_between_are_taken_where_the_tuned_ones_harm(
    minilm: Path, pairs: list[TrainingPair], dev: DevSet, request_for: Callable[..., TrainingRequest], tmp_path: Path
) -> None:
    """The probe takes what the base finds first for what is right, so that whatever the tuning changes harms."""
    texts = [f"{code} is on the display, help" for code in CODES]
    first = SentenceTransformer(str(minilm), device="cpu")
    nearest = (first.encode(texts, normalize_embeddings=True) @ first.encode(list(CODES.values()), normalize_embeddings=True).T).argmax(
        axis=1
    )
    asked = [(text, list(CODES)[place]) for text, place in zip(texts, nearest, strict=True)]
    assert sum(code != chunk for code, (_, chunk) in zip(CODES, asked, strict=True)) >= 4
    probe = write_probe(tmp_path / "probe", CODES, asked)
    settings = QUICK.model_copy(
        update={
            "probe": probe,
            "probe_margin": 0.49,
            "interpolate": True,
            "epochs": 4,
            "batch_size": 8,
            "learning_rate": 2e-4,
            "evaluations_per_epoch": 1,
        }
    )
    result = train(pairs, dev, request_for(minilm, settings))
    told = result.entry.lineage
    floor = told["probe"]["base"] - told["probe"]["margin"]
    end, *others = told["choice"]["blends"]
    assert end["share"] == 1.0
    assert end["probe"] < floor
    assert told["probe"]["queries"] == 8
    assert others
    harmless = [one for one in others if one["probe"] >= floor]
    assert 0 < told["choice"]["share"] < 1
    assert told["probe"]["tuned"] >= floor
    assert told["scores"]["tuned"] == pytest.approx(max(one["dev"] for one in harmless))
    assert result.verdict == "interpolated"


def test_a_model_that_ruins_the_probe_is_kept_from_use_and_the_harm_named(
    tiny: Path, pairs: list[TrainingPair], dev: DevSet, request_for: Callable[..., TrainingRequest], tmp_path: Path
) -> None:
    """A rate that throws the weights about; texts that were found by their own words no longer are."""
    texts = {
        str(place): f"{name} of the town council" for place, name in enumerate(("bulletin", "minutes", "budget", "letter", "seal", "map"))
    }
    probe = write_probe(tmp_path / "probe", texts, [(text, id) for id, text in texts.items()])
    ruin = QUICK.model_copy(update={"probe": probe, "learning_rate": 3.0})
    result = train(pairs, dev, request_for(tiny, ruin))
    told = result.entry.lineage
    assert told["probe"]["base"] == 1.0
    assert told["probe"]["tuned"] < 0.9
    assert told["choice"]["share"] == 1.0
    assert result.verdict == "keep base"
    assert told["reasons"][0] == f"it harms: nDCG@10 on the general probe falls from 1.000 to {told['probe']['tuned']:.3f}"
    assert f"why: {told['reasons'][0]}" in result.lines()


def test_the_weights_of_a_blend_are_between_those_that_it_blends(
    tiny: Path, pairs: list[TrainingPair], dev: DevSet, request_for: Callable[..., TrainingRequest]
) -> None:
    """Nothing is learned at this rate, so that every share finds the same, and the one nearest the base is chosen."""
    from safetensors.torch import load_file

    plain = QUICK.model_copy(update={"learning_rate": 1e-6})
    tuned = train(pairs, dev, request_for(tiny, plain)).entry
    mixed = train(pairs, dev, request_for(tiny, plain.model_copy(update={"interpolate": True}))).entry
    share = mixed.lineage["choice"]["share"]
    assert share == 0.2
    base, end, between_them = (load_file(Path(home) / "model.safetensors") for home in (tiny, tuned.path, mixed.path))
    moved = [name for name, value in base.items() if not torch.equal(value, end[name])]
    assert moved
    for name in moved:
        assert torch.allclose(between_them[name], base[name] + share * (end[name] - base[name]), atol=1e-7)
