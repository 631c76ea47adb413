"""What every test of a dataset starts from."""

from __future__ import annotations

import pytest

from vecmigrate.config import DatasetSection
from vecmigrate.dataset import build_dataset

from .dataset_corpus import ENCODER, asked, corpus, store_of


@pytest.fixture
def texts():
    return corpus()


@pytest.fixture
def settings():
    return DatasetSection()


@pytest.fixture
def build(tmp_path, settings):
    """Build a dataset of these texts and this judged log, in `folder` or the test's own."""

    def run(texts, judged=None, settings=settings, folder=None):
        store, control = store_of(texts)
        return build_dataset(store, control, ENCODER, asked(texts) if judged is None else judged, settings, folder or tmp_path / "datasets")

    return run
