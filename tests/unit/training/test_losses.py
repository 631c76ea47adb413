"""Our loss against the library's: the same value, the same gradients, the same bits each time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import StaticEmbedding

from vecmigrate.encoding.workers import Workers
from vecmigrate.training.grouping import Alone, Group, Pass, group_rows, shares
from vecmigrate.training.losses import GroupedLoss, LossPlan

QUERIES = ["short", "a query of six words here", "x y", "why"]
ANSWERS = ["the answer is rather long " * 6, "brief", "of middling length, this one", "no"]
NEGATIVES = ["wrong", "wrong as well " * 9, "off", "beside the point"]


@pytest.fixture(scope="module")
def model(tiny: Path) -> SentenceTransformer:
    return SentenceTransformer(str(tiny), device="cpu")


def columns(model: SentenceTransformer, *, left: bool = False) -> list[dict[str, Any]]:
    model.tokenizer.padding_side = "left" if left else "right"
    return [model.preprocess(texts) for texts in (QUERIES, ANSWERS, NEGATIVES)]


def grouped(model: SentenceTransformer, workers: int | None, tokens: int = 4096, **changes: Any) -> GroupedLoss:
    crew = Alone() if workers is None else Workers(workers)
    return GroupedLoss(model, LossPlan(), Pass(model, crew, tokens_per_group=tokens, **changes))


def loss_and_gradients(model: SentenceTransformer, loss: torch.nn.Module, features: Sequence[dict[str, Any]]) -> tuple[float, list[Any]]:
    model.zero_grad()
    model.eval()
    value = loss([dict(column) for column in features], None)
    value.backward()
    return float(value.detach()), [None if p.grad is None else p.grad.clone() for p in model.parameters()]


@pytest.mark.parametrize("workers", [None, 1, 2, 3])
@pytest.mark.parametrize("recompute", [False, True])
def test_loss_and_gradients_are_the_librarys(model: SentenceTransformer, workers: int | None, recompute: bool) -> None:
    expected, theirs = loss_and_gradients(model, MultipleNegativesRankingLoss(model), columns(model))
    ours = grouped(model, workers, 64, recompute=recompute)
    got, gradients = loss_and_gradients(model, ours, columns(model))
    assert got == pytest.approx(expected, abs=1e-5)
    assert ours.latest == pytest.approx(expected, abs=1e-5)
    assert any(gradient is not None and gradient.abs().max() > 1e-3 for gradient in gradients)
    for mine, reference in zip(gradients, theirs, strict=True):
        assert (mine is None) == (reference is None)
        if mine is not None:
            assert torch.allclose(mine, reference, atol=1e-5)


def test_two_workers_give_the_same_bits_every_time(model: SentenceTransformer) -> None:
    loss = grouped(model, 2, 16)
    first = loss_and_gradients(model, loss, columns(model))[1]
    for _ in range(5):
        again = loss_and_gradients(model, loss, columns(model))[1]
        assert all(a is None or torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_dropout_is_off_even_while_training(model: SentenceTransformer) -> None:
    loss = grouped(model, None)
    values = []
    for _ in range(2):
        model.train()
        values.append(float(loss(columns(model), None).detach()))
    assert values[0] == values[1]


def test_rows_are_cut_to_their_own_lengths(model: SentenceTransformer) -> None:
    features = columns(model)
    groups = group_rows(features, 40)
    assert groups is not None
    assert sorted(int(row) for group in groups for row in group.rows) == list(range(12))
    padded = sum(column["input_ids"].numel() for column in features)
    assert sum(group.tokens for group in groups) < 0.8 * padded
    for group in groups:
        assert group.features["attention_mask"][0].all()
        assert group.features["attention_mask"].sum() <= group.tokens


def test_padding_on_the_left_is_cut_on_the_left(model: SentenceTransformer) -> None:
    groups = group_rows(columns(model, left=True))
    assert groups is not None
    for group in groups:
        assert group.features["attention_mask"][:, -1].all()
    real = sum(int(group.features["attention_mask"].sum()) for group in groups)
    assert real == sum(int(column["attention_mask"].sum()) for column in columns(model))


def test_a_pipeline_without_padding_goes_the_librarys_way(minilm: Path) -> None:
    from tokenizers import Tokenizer

    torch.manual_seed(0)
    static = SentenceTransformer(
        modules=[StaticEmbedding(Tokenizer.from_file(str(minilm / "tokenizer.json")), embedding_dim=8)], device="cpu"
    )
    features = [static.preprocess(texts) for texts in (QUERIES, ANSWERS)]
    assert group_rows(features) is None
    expected = loss_and_gradients(static, MultipleNegativesRankingLoss(static), features)[0]
    assert loss_and_gradients(static, grouped(static, 2), features)[0] == pytest.approx(expected)


def test_columns_that_are_not_alike_share_no_group(model: SentenceTransformer) -> None:
    features = columns(model)
    features[0]["prompt_length"] = 3
    groups = group_rows(features)
    assert groups is not None
    assert [(sorted(group.rows.tolist()), group.features.get("prompt_length")) for group in groups] == [
        ([0, 1, 2, 3], 3),
        ([4, 5, 6, 7, 8, 9, 10, 11], None),
    ]
    expected, theirs = loss_and_gradients(model, MultipleNegativesRankingLoss(model), features)
    got, gradients = loss_and_gradients(model, grouped(model, 2, 64), features)
    assert got == pytest.approx(expected, abs=1e-5)
    assert all(a is None or torch.allclose(a, b, atol=1e-5) for a, b in zip(gradients, theirs, strict=True))


def group(tokens: int) -> Group:
    return Group(torch.zeros(1, dtype=torch.long), {"input_ids": torch.zeros(1, tokens)})


def test_work_is_shared_evenly_and_always_alike() -> None:
    groups = [group(tokens) for tokens in (10, 50, 30, 20, 40)]
    assert shares(groups, 2) == [[1, 3, 0], [4, 2]]
    assert shares(groups, 1) == [[1, 4, 2, 3, 0]]
    assert shares([group(5)], 3) == [[0], [], []]


def test_a_failure_in_a_worker_is_raised(model: SentenceTransformer) -> None:
    features = columns(model)
    features[1]["input_ids"] = features[1]["input_ids"] + 10**6
    with pytest.raises(IndexError):
        grouped(model, 2)(features, None)
    assert np.isfinite(float(grouped(model, 2)(columns(model), None).detach()))
