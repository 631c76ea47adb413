"""docs/fine-tuning.md names every setting of `[training]` with its default, every loss and rung, no others; and its probe can be read."""

import re
from pathlib import Path
from typing import get_args

import pytest

from vecmigrate.config import LossName, RungName, TrainingSection
from vecmigrate.training.probe import open_probe

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


def test_the_probe_on_the_page_is_read(tmp_path):
    block = PAGE.split("## A probe of your own", 1)[1].split("```")[1]
    lines = [re.sub(r"\s{4,}(title may|the first).*", "", line) for line in block.strip().splitlines()]
    content: dict[str, list[str]] = {}
    current = ""
    for line in lines:
        name, _, rest = line.partition(" ")
        current = name.removeprefix("probe/") if name else current
        content.setdefault(current, []).append(rest.strip().replace(" <tab> ", "\t"))
    for name, rows in content.items():
        (tmp_path / name).write_text("\n".join(rows) + "\n", encoding="utf-8")
    probe = open_probe(tmp_path, root=tmp_path, seed=0)
    assert probe is not None
    assert (probe.queries, probe.pool) == (("who approves my vacation",), ("Holidays\nRequests go to the team's lead.",))


def test_the_general_probe_is_as_large_as_the_page_says():
    probe = open_probe("general", root=Path(), seed=0)
    assert probe is not None
    assert f"({len(probe.queries)} questions on {len(probe.pool)} short texts)" in PAGE
