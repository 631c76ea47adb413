"""What the tests of synthetic queries start from."""

from __future__ import annotations

import pytest

from vecmigrate.config import SynthesisSection
from vecmigrate.synthesis import endpoint

from .synthesis_world import ChatServer


@pytest.fixture
def server():
    chat = ChatServer()
    chat.start()
    yield chat
    chat.stop()


@pytest.fixture
def settings(server):
    """Settings for the server; the test names what it wants otherwise."""

    def make(**changes):
        return SynthesisSection(**{"kind": "endpoint", "url": server.url, "model": "tiny-chat", "per_chunk": 2, **changes})

    return make


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Pauses between attempts of milliseconds."""
    monkeypatch.setattr(endpoint, "FIRST_PAUSE", 0.002)
    monkeypatch.setattr(endpoint, "LONGEST_PAUSE", 0.01)
