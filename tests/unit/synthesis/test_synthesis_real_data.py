"""Local queries out of real collections: jargon, tables, boilerplate, other languages. Skipped where the data are not there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vecmigrate.config import SynthesisSection
from vecmigrate.querylog import normalised
from vecmigrate.querylog.wording import words
from vecmigrate.synthesis import local_queries
from vecmigrate.synthesis.drawing import draw_chunks
from vecmigrate.synthesis.filtering import filtered
from vecmigrate.testing.memory import MemoryStore, SourceRow

DATA = Path(__file__).resolve().parents[3].parent / "shared/data"


@pytest.mark.parametrize("name", ["attack_techniques", "feedbackqa", "cranfield", "zz_clicks", "chunk_eval"])
def test_real_collections_give_queries_and_none_is_a_long_copy(name):
    file = DATA / name / "corpus.jsonl"
    if not file.exists():
        pytest.skip(f"shared/data/{name} is not beside this working copy")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()[:1500]]
    one = np.ones(64, dtype=np.float32)
    store = MemoryStore([SourceRow(row["id"], row.get("text"), one, {"title": row.get("title", "")}) for row in rows])
    section = SynthesisSection(kinds=("title", "keywords", "sentence", "crop"), per_chunk=4, max_chunks=300)
    drawn = draw_chunks(store, section.max_chunks, 0)
    texts = {chunk.id: chunk.text for chunk in drawn.chunks}
    kept = filtered(local_queries(store, section)(drawn).candidates, texts, section).by_wording
    assert len(kept) > 2 * len(drawn.chunks)
    assert {candidate.kind for candidate in kept.values()} >= {"keywords", "sentence", "crop"}
    for wording, candidate in kept.items():
        said = " ".join(words(wording))
        assert 2 <= len(said.split()) <= 40 or not candidate.text.isascii()
        assert len(said.split()) < 8 or all(said not in " ".join(words(normalised(texts[id]))) for id in candidate.chunk_ids if id in texts)
