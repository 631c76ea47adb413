"""What the tests of the evaluation share: see evaluation_worlds."""

from __future__ import annotations

import pytest

from vecmigrate.evaluation import Comparison

from . import evaluation_worlds


@pytest.fixture
def comparison() -> Comparison:
    return evaluation_worlds.passing()
