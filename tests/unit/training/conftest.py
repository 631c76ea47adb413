"""The base models, and requests in a workspace of the test's own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vecmigrate.config import TrainingSection
from vecmigrate.dataset.pairs import DevSet, TrainingPair
from vecmigrate.encoding import ModelCatalog
from vecmigrate.training import TrainingRequest

sys.path.append(str(Path(__file__).parent))  # the killed processes import it too, by its plain name

from training_shop import CODES, ONE_THREAD, QUICK, dev_set, pairs_of


@pytest.fixture(scope="session")
def pairs() -> list[TrainingPair]:
    return pairs_of(CODES)


@pytest.fixture(scope="session")
def dev() -> DevSet:
    return dev_set()


@pytest.fixture(scope="session")
def tiny(tiny: Callable[..., Path]) -> Path:
    """The tiny model with mean pooling."""
    from sentence_transformers.sentence_transformer.modules import Pooling

    return tiny(Pooling(16))


@pytest.fixture(scope="session")
def deep(tmp_path_factory: pytest.TempPathFactory, minilm: Path) -> Path:
    """As the tiny model, with three layers."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import AutoTokenizer, BertConfig, BertModel

    from vecmigrate.encoding.loading import quiet_bars

    root = tmp_path_factory.mktemp("deep")
    torch.manual_seed(0)
    config = BertConfig(hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32)
    with quiet_bars():
        BertModel(config).save_pretrained(root / "plain")
        AutoTokenizer.from_pretrained(minilm).save_pretrained(root / "plain")
        parts = [Transformer(str(root / "plain"), max_seq_length=48), Pooling(16)]
        SentenceTransformer(modules=parts, device="cpu").save(str(root / "model"), create_model_card=False)
    return root / "model"


@pytest.fixture
def request_for(tmp_path: Path) -> Callable[..., TrainingRequest]:
    """A request in this test's own workspace."""

    def make(base: Path, training: TrainingSection = QUICK, **changes: Any) -> TrainingRequest:
        catalog = ModelCatalog(tmp_path / "models")
        entry = catalog.ensure(str(base), settings=ONE_THREAD)
        request = TrainingRequest(
            base=entry, catalog=catalog, folder=tmp_path / "training", training=training, encoding=ONE_THREAD, lineage={"dataset": "d" * 8}
        )
        return replace(request, **changes)

    return make
