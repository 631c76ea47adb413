"""Each loss is the one it is called after: the library's own value on the same batch, weights and vetoes included, and it goes down."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.losses.merged_forward import column_merging_disabled
from sentence_transformers.sentence_transformer import losses
from torch.nn.functional import cosine_similarity

from vecmigrate.config import LossName
from vecmigrate.training.grouping import Alone, Pass
from vecmigrate.training.losses import GRADED, PAIRED, TAUGHT, GroupedLoss, Guide, LossPlan, RankingLoss

QUERIES = ["error zx-1", "the lift is stuck with people in it", "coffee", "who pays the night shift"]
ANSWERS = ["Restart the printer.", "Call the engineer and keep the doors closed.", "Descale the machine.", "Book it on the other account."]
WRONG = ["Wait.", "Pump the tyres of the van to three bar.", "Tea is in the kitchen of the second floor.", "Nobody."]
FAR = ["Lunch.", "Windows are cleaned on Fridays.", "A lamp.", "The tower has nine floors."]
ALL: tuple[LossName, ...] = get_args(LossName)
GRADES = torch.tensor([1.0, 0.0, 0.5, 0.25])
MARGINS = torch.tensor([3.0, 1.0, 2.0, 0.5])
LOGITS = torch.tensor([[4.0, 1.0], [2.0, 0.0], [3.0, -1.0], [1.0, 0.5]])


def fresh(tiny: Path) -> SentenceTransformer:
    return SentenceTransformer(str(tiny), device="cpu").eval()


@pytest.fixture(scope="module")
def model(tiny: Path) -> SentenceTransformer:
    return fresh(tiny)


@pytest.fixture(scope="module")
def other(tiny: Path) -> SentenceTransformer:
    """A guide that sees things differently: the same model with other weights."""
    twin = fresh(tiny)
    torch.manual_seed(5)
    with torch.no_grad():
        for weight in twin.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
    return twin


def columns(model: SentenceTransformer, *texts: Sequence[str]) -> list[dict[str, Any]]:
    return [model.preprocess(list(column)) for column in texts]


def data_for(name: LossName, model: SentenceTransformer) -> tuple[list[dict[str, Any]], torch.Tensor | None]:
    if name in GRADED:
        return columns(model, QUERIES, ANSWERS), GRADES
    if name == "margin-mse":
        return columns(model, QUERIES, ANSWERS, WRONG), MARGINS
    if name == "distillation":
        return columns(model, QUERIES, ANSWERS, WRONG), LOGITS
    return columns(model, QUERIES, ANSWERS, WRONG), torch.ones(4)


def ours(model: SentenceTransformer, plan: LossPlan, guide: Guide | None = None) -> GroupedLoss:
    return GroupedLoss(model, plan, Pass(model, Alone(), tokens_per_group=64), guide=guide)


def value(loss: torch.nn.Module, features: Sequence[dict[str, Any]], labels: Any = None) -> float:
    with torch.no_grad():
        return float(loss([dict(column) for column in features], labels))


def guide_of(model: SentenceTransformer) -> Guide:
    return Guide(Pass(model, Alone()))


def test_every_loss_needs_one_kind_of_data() -> None:
    assert set(ALL) == PAIRED | GRADED | TAUGHT
    assert len(PAIRED) + len(GRADED) + len(TAUGHT) == len(ALL)


@pytest.mark.parametrize("name", ALL)
def test_one_step_down_the_gradient_lowers_the_loss(name: LossName, tiny: Path) -> None:
    model = fresh(tiny)
    features, labels = data_for(name, model)
    loss = ours(model, LossPlan(name), guide_of(fresh(tiny)) if name == "guided" else None)
    before = loss([dict(column) for column in features], labels)
    before.backward()
    assert float(before.detach()) > 0
    torch.optim.SGD(model.parameters(), lr=1e-3).step()
    assert value(loss, features, labels) < float(before.detach())


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("ranking", losses.MultipleNegativesRankingLoss),
        (
            "symmetric-ranking",
            lambda m: losses.MultipleNegativesRankingLoss(m, directions=("query_to_doc", "doc_to_query"), partition_mode="per_direction"),
        ),
        (
            "triplet",
            lambda m: losses.TripletLoss(m, distance_metric=losses.TripletDistanceMetric.COSINE, triplet_margin=0.2),
        ),
        ("cosent", losses.CoSENTLoss),
        ("cosine", losses.CosineSimilarityLoss),
        ("margin-mse", lambda m: losses.MarginMSELoss(m, similarity_fct=lambda a, b: 20 * cosine_similarity(a, b, dim=-1))),
        ("distillation", lambda m: losses.DistillKLDivLoss(m, similarity_fct=lambda a, b: 20 * cosine_similarity(a, b, dim=-1))),
    ],
)
def test_the_value_and_gradient_are_the_librarys(name: LossName, theirs: Any, model: SentenceTransformer) -> None:
    features, labels = data_for(name, model)
    found = []
    for loss in (ours(model, LossPlan(name)), theirs(model)):
        model.zero_grad()
        with column_merging_disabled():
            made = loss([dict(column) for column in features], labels)
        made.backward()
        found.append((float(made.detach()), [w.grad.clone() for w in model.parameters() if w.grad is not None]))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    assert len(found[0][1]) == len(found[1][1]) > 0
    assert max(float(grad.abs().max()) for grad in found[0][1]) > 1e-5
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(found[0][1], found[1][1], strict=True))


# ── weights ──


def weighted(*weights: float) -> float:
    """The loss of four rows that are always the same."""
    made = torch.Generator().manual_seed(1)
    asked, told = torch.randn(4, 8, generator=made), torch.randn(4, 8, generator=made)
    return float(RankingLoss(Fixed())([{"of": asked}, {"of": told}], torch.tensor(weights)))


class Fixed(torch.nn.Module):
    """A model whose embeddings are given."""

    def forward(self, column: dict[str, Any]) -> dict[str, torch.Tensor]:
        return {"sentence_embedding": column["of"]}


def test_equal_weights_give_the_plain_mean_whatever_they_are(model: SentenceTransformer) -> None:
    features, _ = data_for("ranking", model)
    plain = value(losses.MultipleNegativesRankingLoss(model), features)
    for weights in (torch.ones(4), torch.full((4,), 0.3), None):
        assert value(ours(model, LossPlan()), features, weights) == pytest.approx(plain, rel=1e-5)


def test_a_pair_of_weight_zero_pulls_nothing() -> None:
    asked = torch.randn(3, 8, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    told = torch.randn(3, 8, generator=torch.Generator().manual_seed(1))
    RankingLoss(Fixed())([{"of": asked}, {"of": told}], torch.tensor([1.0, 0.0, 0.5])).backward()  # type: ignore[no-untyped-call]
    assert asked.grad is not None
    assert asked.grad[1].abs().max() == 0
    assert asked.grad[0].abs().max() > 0
    assert asked.grad[2].abs().max() > 0


def test_a_pair_of_weight_two_counts_as_the_mean_of_two_rows_of_it() -> None:
    each = [weighted(*(float(n == row) for n in range(4))) for row in range(4)]
    assert weighted(2.0, 1.0, 1.0, 0.0) == pytest.approx((2 * each[0] + each[1] + each[2]) / 4)


def test_weights_that_are_all_zero_give_zero_and_not_nan() -> None:
    assert weighted(0.0, 0.0, 0.0, 0.0) == 0.0


def test_a_batch_that_mixes_weights_leans_to_the_trusted(model: SentenceTransformer) -> None:
    features, _ = data_for("ranking", model)
    each = [value(ours(model, LossPlan()), features, torch.eye(4)[row]) for row in range(4)]
    assert max(each) - min(each) > 0.01
    best, worst = each.index(min(each)), each.index(max(each))
    trust = torch.full((4,), 0.1)
    trust[best] = 1.0
    distrust = torch.full((4,), 0.1)
    distrust[worst] = 1.0
    assert value(ours(model, LossPlan()), features, trust) < value(ours(model, LossPlan()), features, distrust)


# ── the guide ──


def test_the_guided_loss_is_the_librarys(model: SentenceTransformer, other: SentenceTransformer) -> None:
    features, labels = data_for("guided", model)
    theirs = losses.GISTEmbedLoss(model, other, temperature=1 / 20, contrast_anchors=False, contrast_positives=False)
    # its anchors are scored against positives and negatives, as ours are
    guided = value(ours(model, LossPlan("guided"), guide_of(other)), features, labels)
    with column_merging_disabled():
        expected = value(theirs, features)
    assert guided == pytest.approx(expected, rel=1e-5)
    assert guided != pytest.approx(value(ours(model, LossPlan("ranking")), features, labels), rel=1e-3)


def test_what_the_guide_finds_nearer_than_the_answer_is_left_out_of_the_softmax() -> None:
    """The guide puts chunk 1 nearer to query 0 than chunk 0; without chunk 1, query 0 has no rival at all."""
    asked = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    told = torch.tensor([[0.8, 0.6], [1.0, 0.0]])

    class Given:
        def vectors(self, columns: Any) -> list[torch.Tensor]:
            return [asked, told]

    loss = RankingLoss(Fixed(), 20.0, guide=Given())  # type: ignore[arg-type]
    found = loss([{"of": asked}, {"of": told}], torch.tensor([1.0, 0.0]))
    assert float(found) == pytest.approx(0.0, abs=1e-6)
    assert float(RankingLoss(Fixed(), 20.0)([{"of": asked}, {"of": told}], torch.tensor([1.0, 0.0]))) > 3.9


def test_the_guide_embeds_each_text_once(model: SentenceTransformer, other: SentenceTransformer, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    look = Pass.look

    def counted(self: Pass, features: Any) -> Any:
        looked.append(sum(len(column["input_ids"]) for column in features))
        return look(self, features)

    monkeypatch.setattr(Pass, "look", counted)
    guide = guide_of(other)
    first = guide.vectors(columns(model, QUERIES, ANSWERS))
    again = guide.vectors(columns(model, QUERIES[::-1], ANSWERS))
    assert looked == [4, 4]
    assert torch.equal(again[0], first[0].flip(0))
    assert torch.equal(again[1], first[1])
    expected = other.encode(QUERIES, convert_to_tensor=True, normalize_embeddings=True)
    assert torch.allclose(first[0], expected, atol=1e-5)


def test_the_guide_knows_a_text_by_its_words_and_not_by_its_padding(model: SentenceTransformer, other: SentenceTransformer) -> None:
    guide = guide_of(other)
    alone = guide.vectors(columns(model, QUERIES[:1]))[0]
    beside_a_longer_one = guide.vectors(columns(model, [QUERIES[0], QUERIES[1]]))[0]
    assert torch.equal(alone[0], beside_a_longer_one[0])


# ── Matryoshka ──


@pytest.mark.parametrize("weights", [(), (1.0, 0.5)])
def test_matryoshka_is_the_librarys(weights: tuple[float, ...], model: SentenceTransformer) -> None:
    features, labels = data_for("ranking", model)
    theirs = losses.MatryoshkaLoss(model, losses.MultipleNegativesRankingLoss(model), [16, 4], list(weights) or None)
    with column_merging_disabled():
        expected = value(theirs, features)
    del theirs
    found = value(ours(model, LossPlan(dims=(16, 4), weights=weights)), features, labels)
    assert found == pytest.approx(expected, rel=1e-5)
    assert found > value(ours(model, LossPlan()), features, labels)


def test_matryoshka_with_a_guide_lets_the_guide_see_whole_vectors(model: SentenceTransformer, other: SentenceTransformer) -> None:
    features, labels = data_for("guided", model)
    one = value(ours(model, LossPlan("guided"), guide_of(other)), features, labels)
    narrow = value(ours(model, LossPlan("guided", dims=(16,)), guide_of(other)), features, labels)
    assert narrow == pytest.approx(one, rel=1e-5)


def test_matryoshka_over_layers_trains(deep: Path) -> None:
    torch.manual_seed(0)
    model = fresh(deep)
    features, labels = data_for("ranking", model)
    loss = ours(model, LossPlan(dims=(16, 8), layers=True))
    made = loss([dict(column) for column in features], labels)
    made.backward()
    assert torch.isfinite(made)
    lowest = next(weight for name, weight in model.named_parameters() if "layer.0." in name)
    assert lowest.grad is not None
    assert lowest.grad.abs().max() > 0


def test_the_guide_embeds_only_what_is_new(model: SentenceTransformer, other: SentenceTransformer, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    look = Pass.look
    monkeypatch.setattr(Pass, "look", lambda self, features: [looked.append(len(features[0]["input_ids"])), look(self, features)][1])
    guide = guide_of(other)
    guide.vectors(columns(model, QUERIES, ANSWERS))
    guide.vectors(columns(model, [*QUERIES[:3], "new"], [ANSWERS[0], *ANSWERS[:3]]))
    assert looked == [4, 4, 1]
