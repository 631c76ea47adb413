"""The model card: what was measured, how it was made, and none of the users' texts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from training_shop import QUICK

from vecmigrate.dataset.pairs import DevSet, TrainingPair
from vecmigrate.encoding import ModelEntry
from vecmigrate.training import TrainingRequest, train
from vecmigrate.training.card import card
from vecmigrate.versions import ModelVersion

TOLD: dict[str, Any] = {
    "rung": "full",
    "base": {"name": "stock", "fingerprint": "b" * 64, "source": "stock"},
    "data": {"pairs": 1234, "negatives": 3, "max_tokens": 128, "notes": ["2 pairs left out"]},
    "scores": {
        "measure": "nDCG@10",
        "queries": 200,
        "pool": 400,
        "base": 0.5,
        "tuned": 0.625,
        "difference": 0.11,
        "interval": [0.05, 0.17],
    },
    "probe": {"measure": "nDCG@10", "queries": 325, "base": 0.87, "tuned": 0.862, "margin": 0.01},
    "reasons": [],
    "choice": {"attempts": [{"loss": "ranking", "learning_rate": 2e-4, "epochs": 2, "dev": 0.631}], "share": 0.6},
    "needs": "re-embeds 5,000 chunks beside the live index",
    "libraries": {"torch": "2.9.0"},
}


def entry(**changes: Any) -> ModelEntry:
    model = ModelVersion(name="shop", fingerprint="a" * 64, source="shop", dimension=16)
    return ModelEntry(model, "shop", verdict="interpolated", lineage={**TOLD, **changes}, created_at=datetime(2026, 1, 2, tzinfo=UTC))


def test_the_card_has_the_figures() -> None:
    lines = card(entry()).splitlines()
    assert "base_model: stock" in lines
    assert "# shop" in lines
    assert "Verdict: **interpolated**." in lines
    assert "| dev queries, nDCG@10 (200) | 0.500 | 0.625 | +0.110 [+0.050, +0.170], cross-fitted |" in lines
    assert "| general probe, nDCG@10 (325) | 0.870 | 0.862 | -0.008 |" in lines
    assert "- 1,234 pairs with 3 hard negative(s) each, texts cut at 128 tokens while training" in lines
    assert "- ranking, learning rate 0.0002, 2 epochs: dev 0.631" in lines
    assert "- weights 60% of the way from the base to the tuned ones" in lines
    assert "- a cutover to it re-embeds 5,000 chunks beside the live index" in lines
    assert "- torch 2.9.0" in lines
    assert any("`aaaaaaaaaaaaaaaa…`" in line for line in lines)


def test_without_a_probe_or_a_blend_nothing_is_said_of_them() -> None:
    text = card(entry(probe={}, choice={"pull": 0.1, "passes": 20}, rung="adapter"))
    assert "general probe" not in text
    assert "of the way" not in text
    assert "tuned: adapter, from stock" in text


def test_reasons_against_the_model_stand_beside_its_verdict() -> None:
    text = card(replace(entry(reasons=["it harms: a lot", "no sure gain"]), verdict="keep base"))
    assert "Verdict: **keep base**. It harms: a lot. No sure gain." in text


def test_a_trained_models_card_holds_none_of_the_users_texts(
    tiny: Path, pairs: list[TrainingPair], dev: DevSet, request_for: Callable[..., TrainingRequest]
) -> None:
    mined = [replace(pair, negatives=("A secret of the house.",)) for pair in pairs]
    made = train(mined, dev, request_for(tiny, QUICK, name="shop")).entry
    text = (Path(made.path) / "README.md").read_text(encoding="utf-8")
    assert text == card(made)
    users = {"A secret of the house."} | {t for pair in pairs for t in (pair.query, pair.positive)} | {q.text for q in dev.queries}
    assert len(users) > 50
    assert not [one for one in users if one in text]
    ids = {pair.query_id for pair in pairs} | {query.id for query in dev.queries}
    assert not [one for one in ids if one in text]
