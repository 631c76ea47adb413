"""What teaches nothing must not pass: a real model, tuned on noise, is told to be kept back."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from training_shop import CODES, QUICK

from vecmigrate.dataset.pairs import DevSet, TrainingPair
from vecmigrate.training import TrainingRequest, train

Request = Callable[..., TrainingRequest]
SETTINGS = QUICK.model_copy(
    update={
        "rungs": ("adapter", "full"),
        "epochs": 2,
        "batch_size": 8,
        "learning_rate": 2e-4,
        "evaluations_per_epoch": 1,
        "interpolate": True,
    }
)


def test_shuffled_answers_keep_the_base_on_every_rung(minilm: Path, pairs: list[TrainingPair], dev: DevSet, request_for: Request) -> None:
    drawn = random.Random(0).sample(pairs, len(pairs))
    shuffled = [replace(pair, chunk_id=other.chunk_id, positive=other.positive) for pair, other in zip(pairs, drawn, strict=True)]
    assert sum(pair.chunk_id == old.chunk_id for pair, old in zip(shuffled, pairs, strict=True)) < 8
    result = train(shuffled, dev, request_for(minilm, SETTINGS))
    assert [entry.verdict for entry in result.entries] == ["keep base", "keep base"]


@pytest.mark.slow
def test_fifty_noisy_pairs_keep_the_base(minilm: Path, dev: DevSet, request_for: Request) -> None:
    chance = random.Random(1)
    words = " ".join(CODES.values()).lower().replace(".", "").split()
    answers = list(CODES.items())
    noisy = []
    for number in range(50):
        code, text = chance.choice(answers)
        noisy.append(TrainingPair(f"n{number}", code, " ".join(chance.sample(words, 4)), text))
    result = train(noisy, dev, request_for(minilm, SETTINGS))
    assert [entry.verdict for entry in result.entries] == ["keep base", "keep base"]
