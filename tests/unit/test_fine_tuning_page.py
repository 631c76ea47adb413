"""docs/fine-tuning.md names every setting of `[training]` with its default, every loss and every rung, and no others."""

import re
from pathlib import Path
from typing import get_args

import pytest

from vecmigrate.config import LossName, RungName, TrainingSection

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "fine-tuning.md").read_text(encoding="utf-8")


def rows_after(heading: str) -> list[list[str]]:
    """The cells of the table under a heading, without its first two lines."""
    section = PAGE.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def settings() -> dict[str, str]:
    """What is said of each key: its default."""
    return {key: row[1] for row in rows_after("Every setting") for key in re.findall(r"`(\w+)`", row[0])}


def test_every_setting_is_on_the_page():
    assert set(settings()) == set(TrainingSection.model_fields)


@pytest.mark.parametrize(
    "key", ["batch_size", "accumulation", "warmup_fraction", "evaluations_per_epoch", "patience", "seed", "probe_margin"]
)
def test_defaults_on_the_page_are_the_codes(key):
    assert settings()[key] == str(TrainingSection.model_fields[key].default)


@pytest.mark.parametrize("key", ["loss", "probe", "precision"])
def test_named_defaults_on_the_page_are_the_codes(key):
    assert settings()[key] == f'`"{TrainingSection.model_fields[key].default}"`'


def test_every_loss_is_on_the_page():
    assert {row[0].strip("`") for row in rows_after("Losses")} == set(get_args(LossName))


def test_every_rung_is_on_the_page():
    assert all(f"| `{rung}` |" in PAGE for rung in get_args(RungName))


def test_links_to_other_pages_lead_somewhere():
    folder = Path(__file__).resolve().parents[2] / "docs"
    linked = re.findall(r"\]\(([a-z-]+\.md)", PAGE)
    assert linked
    assert all((folder / name).is_file() for name in linked)
