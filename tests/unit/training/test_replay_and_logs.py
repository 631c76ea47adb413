"""General pairs mixed in, and curves for those who look at them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from training_shop import QUICK

from vecmigrate.dataset.pairs import DevSet, TrainingPair
from vecmigrate.errors import DataError, UsageError
from vecmigrate.training import TrainingRequest, train
from vecmigrate.training.replay import replayed

Request = Callable[..., TrainingRequest]


def general(folder: Path, count: int) -> Path:
    file = folder / "general.jsonl"
    rows = [{"query": f"general question {n}", "positive": f"general answer {n}", "negatives": [f"no answer {n}"]} for n in range(count)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def with_replay(request: TrainingRequest, file: Path, fraction: float = 0.25) -> TrainingRequest:
    return replace(request, training=QUICK.model_copy(update={"replay": file, "replay_fraction": fraction}))


def test_a_quarter_as_many_general_pairs_are_drawn_and_always_the_same(tiny: Path, request_for: Request, tmp_path: Path) -> None:
    request = with_replay(request_for(tiny), general(tmp_path, 50))
    drawn = replayed(request, 24)
    assert len(drawn) == 6
    assert drawn == replayed(request, 24)
    assert all(pair.query.startswith("general question") and len(pair.negatives) == 1 for pair in drawn)
    assert replayed(request_for(tiny), 24) == ()


def test_a_relative_file_starts_at_the_configuration(tiny: Path, request_for: Request, tmp_path: Path) -> None:
    general(tmp_path, 8)
    request = replace(with_replay(request_for(tiny), Path("general.jsonl")), root=tmp_path)
    assert len(replayed(request, 16)) == 4


def test_they_are_trained_on_and_counted(tiny: Path, pairs: list[TrainingPair], dev: DevSet, request_for: Request, tmp_path: Path) -> None:
    request = with_replay(request_for(tiny), general(tmp_path, 50))
    assert train(pairs, dev, request).entry.lineage["data"]["pairs"] == 30


@pytest.mark.parametrize("line", ["{", '{"query": "no answer"}', "[1]"])
def test_a_line_that_is_no_pair_is_named(tiny: Path, request_for: Request, tmp_path: Path, line: str) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 1"):
        replayed(with_replay(request_for(tiny), file, 1.0), 24)


def test_a_file_that_is_not_there_is_named(tiny: Path, request_for: Request, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        replayed(with_replay(request_for(tiny), tmp_path / "none.jsonl"), 24)


def test_a_tracker_gets_the_loss_and_the_dev_score(tiny: Path, pairs: list[TrainingPair], dev: DevSet, request_for: Request) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

    request = request_for(tiny, QUICK.model_copy(update={"report_to": ("tensorboard",)}))
    train(pairs, dev, request)
    written = list((request.folder / "logs").rglob("events.out.tfevents.*"))
    assert len(written) == 1
    events = EventAccumulator(str(written[0].parent))
    events.Reload()
    assert {"train/loss", "train/dev_ndcg@10"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("train/dev_ndcg@10")] == [3, 6]
