"""The rungs that leave the chunks' vectors alone: what is on each side of the model, and what its record claims."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_shop import CODES, ONE_THREAD, QUICK

from vecmigrate.dataset.pairs import DevSet, TrainingPair
from vecmigrate.encoding import ModelCatalog, ModelEntry, load_encoder
from vecmigrate.training import TrainingRequest, TrainingResult, train

TEXTS = [*CODES.values(), "error zx-1 what to do"]
Request = Callable[..., TrainingRequest]
Pairs = list[TrainingPair]


def climb(base: ModelEntry, root: Path, pairs: Pairs, dev: DevSet, **changes: Any) -> TrainingResult:
    settings = QUICK.model_copy(update={"rungs": ("adapter", "query", "full"), **changes})
    request = TrainingRequest(
        base=base, catalog=ModelCatalog(root / "models"), folder=root / "training", training=settings, encoding=ONE_THREAD
    )
    return train(pairs, dev, request)


@pytest.fixture(scope="module")
def base(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> ModelEntry:
    return ModelCatalog(tmp_path_factory.mktemp("base") / "models").ensure(str(tiny), settings=ONE_THREAD)


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def climbed(
    request: pytest.FixtureRequest, base: ModelEntry, pairs: Pairs, dev: DevSet, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, ModelEntry]:
    """The entries by rung, trained in both precisions."""
    root = tmp_path_factory.mktemp(f"climbed-{request.param}")
    result = climb(base, root, pairs, dev, precision=request.param)
    return {entry.lineage["rung"]: entry for entry in result.entries}


def test_the_rungs_are_made_the_cheapest_first(climbed: dict[str, ModelEntry]) -> None:
    assert list(climbed) == ["adapter", "query", "full"]
    assert len({entry.model.fingerprint for entry in climbed.values()}) == 3


@pytest.mark.parametrize("rung", ["adapter", "query"])
def test_the_chunks_vectors_are_the_bases_bit_for_bit(climbed: dict[str, ModelEntry], base: ModelEntry, rung: str) -> None:
    made, stock = load_encoder(climbed[rung].path, ONE_THREAD), load_encoder(base.path, ONE_THREAD)
    assert np.array_equal(made.encode_documents(TEXTS), stock.encode_documents(TEXTS))
    assert not np.array_equal(made.encode_queries(TEXTS), stock.encode_queries(TEXTS))


@pytest.mark.parametrize(("rung", "shares"), [("adapter", True), ("query", True), ("full", False)])
def test_the_record_says_whose_vectors_it_searches(climbed: dict[str, ModelEntry], base: ModelEntry, rung: str, shares: bool) -> None:
    assert climbed[rung].model.documents == (base.model.fingerprint if shares else "")
    nothing = f"re-embeds nothing where {base.model.name} serves: it searches that model's vectors"
    assert climbed[rung].lineage["needs"] == (nothing if shares else "re-embeds every chunk beside the live index")


@pytest.mark.parametrize("rung", ["adapter", "query", "full"])
def test_a_rungs_model_loads_as_what_was_registered(climbed: dict[str, ModelEntry], rung: str) -> None:
    entry = climbed[rung]
    assert load_encoder(entry.path, ONE_THREAD).model.fingerprint == entry.model.fingerprint
    assert entry.model.dimension == 16


def test_the_adapters_score_is_that_of_the_saved_model(climbed: dict[str, ModelEntry], dev: DevSet) -> None:
    """What was measured by a matrix product is what the router of the saved model answers, but for the precision of the measuring."""
    from vecmigrate.training.devsearch import dev_search

    entry = climbed["adapter"]
    served = float(dev_search(dev, seed=0).measure(load_encoder(entry.path, ONE_THREAD)).mean())
    assert served == pytest.approx(entry.lineage["scores"]["tuned"], abs=0.05)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_models(base: ModelEntry, pairs: Pairs, dev: DevSet, tmp_path: Path) -> None:
    made = [
        [entry.model.fingerprint for entry in climb(base, tmp_path / place, pairs, dev, rungs=("adapter", "query")).entries]
        for place in ("a", "b")
    ]
    assert made[0] == made[1]


def test_a_model_tuned_on_a_query_side_can_be_tuned_again(
    climbed: dict[str, ModelEntry], base: ModelEntry, pairs: Pairs, dev: DevSet, tmp_path: Path
) -> None:
    """Its chunks' vectors are still the first base's, which is where they lie in the store."""
    again = climb(climbed["adapter"], tmp_path, pairs, dev, rungs=("adapter", "query"))
    stock = load_encoder(base.path, ONE_THREAD)
    for entry in again.entries:
        assert np.array_equal(load_encoder(entry.path, ONE_THREAD).encode_documents(TEXTS), stock.encode_documents(TEXTS))
        assert entry.model.documents == base.model.fingerprint


def test_a_model_served_in_another_precision_than_its_base_claims_no_vectors(
    tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request
) -> None:
    """Float32 vectors are not those of a bfloat16 index."""
    request = request_for(tiny, QUICK.model_copy(update={"rungs": ("adapter",)}))
    low = request.encoding.model_copy(update={"precision": "bfloat16"})
    assert train(pairs, dev, replace(request, encoding=low)).entry.model.documents == ""


def test_prompts_of_the_base_are_on_both_sides_of_the_router(tiny: Path, pairs: Pairs, dev: DevSet, request_for: Request) -> None:
    request = request_for(tiny, QUICK.model_copy(update={"rungs": ("adapter",)}))
    prompted = request.catalog.ensure(str(tiny), settings=request.encoding, query_prompt="ask: ", document_prompt="say: ")
    entry = train(pairs, dev, replace(request, base=prompted)).entry
    made = load_encoder(entry.path, ONE_THREAD)
    stock = load_encoder(str(tiny), ONE_THREAD, query_prompt="ask: ", document_prompt="say: ")
    assert (made.model.query_prompt, made.model.document_prompt) == ("ask: ", "say: ")
    assert np.array_equal(made.encode_documents(TEXTS), stock.encode_documents(TEXTS))
