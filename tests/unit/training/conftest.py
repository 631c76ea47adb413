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
