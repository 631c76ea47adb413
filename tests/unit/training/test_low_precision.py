"""Groups in bfloat16, recomputed or kept, with plain or fused attention: the same training, and weights that lose nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense
from sentence_transformers.sentence_transformer.modules import Router
from training_shop import QUICK

from vecmigrate.dataset.pairs import DevSet, TrainingPair
from vecmigrate.encoding.workers import Workers
from vecmigrate.training import TrainingRequest, train
from vecmigrate.training.grouping import Alone, Pass, simple_attention, transformers_of
from vecmigrate.training.losses import GroupedLoss, LossPlan

QUERIES = ["error zx-1", "the lift is stuck with people in it", "coffee", "who pays the night shift"]
ANSWERS = ["Restart the printer.", "Call the engineer and keep the doors closed.", "Descale the machine.", "Book it on the other account."]


def plain(tiny: Path) -> SentenceTransformer:
    return SentenceTransformer(str(tiny), device="cpu").eval()


def with_dense(tiny: Path) -> SentenceTransformer:
    torch.manual_seed(0)
    return SentenceTransformer(
        modules=[*plain(tiny).children(), Dense(16, 8, activation_function=torch.nn.Identity())], device="cpu"
    ).eval()


def with_router(tiny: Path) -> SentenceTransformer:
    torch.manual_seed(0)
    shared = list(plain(tiny).children())
    dense = Dense(16, 16, activation_function=torch.nn.Identity())
    router = Router.for_query_document(query_modules=[*shared, dense], document_modules=shared)
    return SentenceTransformer(modules=[router], device="cpu").eval()


PIPELINES = [plain, with_dense, with_router]


def columns(model: SentenceTransformer) -> list[dict[str, Any]]:
    routed = isinstance(next(model.children()), Router)
    asked = model.preprocess(QUERIES, task="query") if routed else model.preprocess(QUERIES)
    told = model.preprocess(ANSWERS, task="document") if routed else model.preprocess(ANSWERS)
    return [asked, told]


def gradient(model: SentenceTransformer, workers: int | None = None, **changes: Any) -> torch.Tensor:
    """All gradients in a row."""
    model.zero_grad()
    crew = Alone() if workers is None else Workers(workers)
    loss = GroupedLoss(model, LossPlan(), Pass(model, crew, tokens_per_group=32, **changes))
    loss([dict(column) for column in columns(model)], torch.ones(4)).backward()
    return torch.cat([(torch.zeros_like(w) if w.grad is None else w.grad).flatten() for w in model.parameters()])


@pytest.mark.parametrize("build", PIPELINES)
def test_gradients_in_bfloat16_point_where_those_in_float32_do(build: Callable[[Path], SentenceTransformer], tiny: Path) -> None:
    model = build(tiny)
    exact, rough = gradient(model), gradient(model, low_precision=True)
    assert exact.abs().max() > 1e-3
    assert float(torch.cosine_similarity(exact, rough, dim=0)) > 0.99
    assert not torch.equal(exact, rough)


@pytest.mark.parametrize("build", PIPELINES)
def test_only_the_copy_is_in_bfloat16(build: Callable[[Path], SentenceTransformer], tiny: Path) -> None:
    model = build(tiny)
    passing = Pass(model, Alone(), low_precision=True)
    embedded = passing.embed(columns(model))
    assert embedded is not None
    assert {part.dtype for part in embedded} == {torch.float32}
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    inner = {weight.dtype for one in transformers_of(passing.through) for weight in one.parameters()}
    assert inner == {torch.bfloat16}
    assert {weight.dtype for name, weight in passing.through.named_parameters() if "linear" in name} <= {torch.float32}


def test_steps_that_bfloat16_would_round_away_add_up(tiny: Path) -> None:
    """1 + 0.00001 is 1 in bfloat16; a thousand such steps are a hundredth, and the copy sees it."""
    model = plain(tiny)
    passing = Pass(model, Alone(), low_precision=True)
    name, weight = next((n, w) for n, w in model.named_parameters() if n.endswith("output.LayerNorm.weight"))
    assert float(weight[0].detach()) == 1.0
    for _ in range(1000):
        with torch.no_grad():
            weight += 1e-5
        passing.refresh()
    copied = dict(passing.through.named_parameters())[name]
    assert float(weight[0].detach()) == pytest.approx(1.01, abs=1e-4)
    assert float(copied[0].detach()) == pytest.approx(1.01, abs=4e-3)
    assert float(copied[0].detach()) > 1.0


def test_the_copy_takes_over_the_weights_before_each_step(tiny: Path) -> None:
    model = plain(tiny)
    passing = Pass(model, Alone(), low_precision=True)
    before = passing.embed(columns(model))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.linspace(-1, 1, weight.numel()).reshape(weight.shape))
    after = passing.embed(columns(model))
    expected = Pass(plain_with_weights_of(model, tiny), Alone(), low_precision=True).embed(columns(model))
    assert before is not None
    assert after is not None
    assert expected is not None
    assert not torch.allclose(before[0], after[0], atol=1e-2)
    assert torch.equal(after[0], expected[0])


def plain_with_weights_of(model: SentenceTransformer, tiny: Path) -> SentenceTransformer:
    twin = plain(tiny)
    twin.load_state_dict(model.state_dict())
    return twin


# ── recompute ──


@pytest.mark.parametrize("low_precision", [False, True])
@pytest.mark.parametrize("build", PIPELINES)
def test_recomputed_gradients_are_those_that_were_kept(
    build: Callable[[Path], SentenceTransformer], tiny: Path, low_precision: bool
) -> None:
    model = build(tiny)
    kept = gradient(model, low_precision=low_precision)
    again = gradient(model, low_precision=low_precision, recompute=True)
    assert kept.abs().max() > 1e-3
    if low_precision:  # the groups' gradients are added in 16 bits where they are kept, in 32 where they are not
        assert float(torch.cosine_similarity(kept, again, dim=0)) > 0.999
    else:
        assert torch.allclose(kept, again, atol=1e-6)


@pytest.mark.parametrize("workers", [1, 2])
def test_recompute_gives_the_same_bits_each_time(tiny: Path, workers: int) -> None:
    model = plain(tiny)
    assert torch.equal(gradient(model, workers, recompute=True), gradient(model, workers, recompute=True))


def kept_for_the_way_back(model: SentenceTransformer, **changes: Any) -> int:
    """The largest number of values that a graph holds on to at once, while the forward pass runs."""
    held: list[int] = []

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        held.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        Pass(model, Alone(), tokens_per_group=32, **changes).embed(columns(model))
    return sum(held)


def test_recompute_keeps_no_activations(tiny: Path) -> None:
    model = plain(tiny)
    assert kept_for_the_way_back(model) > 10_000
    assert kept_for_the_way_back(model, recompute=True) == len(QUERIES + ANSWERS)  # the order of the rows


# ── attention ──


def test_plain_and_fused_attention_embed_alike(tiny: Path) -> None:
    model = plain(tiny)
    fused = model.encode(ANSWERS, convert_to_tensor=True)
    put_back = simple_attention(model)
    simple = model.encode(ANSWERS, convert_to_tensor=True)
    put_back()
    assert torch.allclose(fused, simple, atol=1e-6)
    assert torch.equal(model.encode(ANSWERS, convert_to_tensor=True), fused)


@pytest.mark.parametrize("build", PIPELINES)
def test_the_old_attention_is_put_back(build: Callable[[Path], SentenceTransformer], tiny: Path) -> None:
    model = build(tiny)
    inner = transformers_of(model)
    before = [module.config._attn_implementation for module in inner]
    put_back = simple_attention(model)
    assert {module.config._attn_implementation for module in inner} == {"eager"}
    assert before != ["eager"] * len(before)
    put_back()
    assert [module.config._attn_implementation for module in inner] == before


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_tuned_model_is_saved_as_the_base_was(
    precision: str, tiny: Path, pairs: list[TrainingPair], dev: DevSet, request_for: Callable[..., TrainingRequest]
) -> None:
    """Float32, with no word of the attention that it was trained with."""
    settings = QUICK.model_copy(update={"precision": precision})
    home = Path(train(pairs, dev, request_for(tiny, settings)).entry.path)
    model = SentenceTransformer(str(home), device="cpu")
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert (home / "config.json").read_text() == (tiny / "config.json").read_text()
    assert shapes(model) == shapes(plain(tiny))


def shapes(model: SentenceTransformer) -> Sequence[tuple[str, tuple[int, ...]]]:
    return [(name, tuple(weight.shape)) for name, weight in model.named_parameters()]
