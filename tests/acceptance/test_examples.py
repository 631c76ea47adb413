"""Every example runs as it stands, is short, and prints what it is about."""

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
EXPECTED = {
    "quickstart.py": ["nDCG@10", "training says", "docs@v1 ["],
    "existing_table.py": ["2 rows, key tenant, number, cosine, {64: 2}", "2 of 2 sampled chunks alike", 'best: ["acme","1"] Refunds'],
    "chroma_collection.py": ["cutover: docs@v0 → docs@v1, epoch 2, best a", "rollback: docs@v1 → docs@v0, epoch 3, best a"],
    "rollback_drill.py": [
        "behind: 1 row; after a sync: 0",
        "rows missing: 0 | answered by docs@v0 : written after the cutover",
        "verified: True",
    ],
    "langchain_store.py": ["cutover: docs@v1 serves, best a", "rollback: docs@v0 serves, best a", "rows missing in v1: 0"],
    "own_adapter.py": ["passed"],
}


def test_every_example_is_expected_to_print_something():
    assert {p.name for p in EXAMPLES.glob("*.py")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_an_example_runs_from_anywhere(name, tmp_path):
    done = subprocess.run([sys.executable, str(EXAMPLES / name)], cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    assert [part for part in EXPECTED[name] if part not in done.stdout] == [], done.stdout
    assert "failed" not in done.stdout


@pytest.mark.parametrize("name", EXPECTED)
def test_an_example_fits_on_a_page(name):
    assert len((EXAMPLES / name).read_text(encoding="utf-8").splitlines()) <= 60
