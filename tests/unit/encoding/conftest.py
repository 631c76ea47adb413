"""Models for the encoder's tests: the real small one from its wheel, and tiny ones of other shapes made on the spot."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vecmigrate.config import EncodingSection


@pytest.fixture(scope="session")
def encoder(minilm: Path) -> Any:
    from vecmigrate.encoding import load_encoder

    return load_encoder(str(minilm), EncodingSection(threads=2, device="cpu"))


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
