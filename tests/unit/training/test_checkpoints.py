"""A run's folder: only what is complete counts, and a kill at any moment leaves something to go on from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from vecmigrate.training.checkpoints import HISTORY, History, RunFolder

BASE = History(base=(0.2, 0.4))


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


def save(run: RunFolder, step: int, history: History) -> None:
    run.checkpoint(step).mkdir(parents=True, exist_ok=True)
    if history.best_step == step:
        run.best(step).mkdir(exist_ok=True)
    run.complete(step, history)


def test_a_better_evaluation_becomes_the_best() -> None:
    history = BASE.after(4, [0.5, 0.5]).after(8, [0.6, 0.7])
    assert (history.best_step, history.best, history.waited) == (8, (0.6, 0.7), 0)
    assert history.steps == ((4, 0.5), (8, pytest.approx(0.65)))
    assert (history.newest, history.last_step) == (pytest.approx(0.65), 8)


def test_evaluations_without_a_rise_are_counted() -> None:
    history = BASE.after(4, [0.5, 0.5]).after(8, [0.5, 0.5]).after(12, [0.1, 0.1])
    assert (history.best_step, history.waited) == (4, 2)
    assert history.after(16, [0.6, 0.6]).waited == 0


def test_the_base_is_not_the_best_step() -> None:
    history = BASE.after(4, [0.0, 0.0])
    assert history.best_step == 4
    assert BASE.newest == pytest.approx(0.3)
    assert BASE.last_step == 0


def test_a_run_that_was_never_begun_has_nothing_to_go_on_from(run: RunFolder) -> None:
    assert run.latest() is None


def test_the_newest_complete_checkpoint_is_gone_on_from(run: RunFolder) -> None:
    history = BASE.after(4, [0.5, 0.5])
    save(run, 4, history)
    assert run.latest() == (run.checkpoint(4), history)
    later = replace(history.after(8, [0.4, 0.4]), seconds=12.5)
    save(run, 8, later)
    assert run.latest() == (run.checkpoint(8), later)
    assert not run.checkpoint(4).exists()
    assert run.best(4).exists()


def test_a_checkpoint_that_was_being_written_is_passed_over_and_removed(run: RunFolder) -> None:
    history = BASE.after(4, [0.5, 0.5])
    save(run, 4, history)
    run.checkpoint(12).mkdir()
    (run.checkpoint(12) / "model.safetensors").write_bytes(b"half")
    assert run.latest() == (run.checkpoint(4), history)
    assert not run.checkpoint(12).exists()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"base": [1]}', '{"base": 1, "best": [], "steps": []}'])
def test_a_half_written_history_does_not_count(run: RunFolder, content: str) -> None:
    run.checkpoint(4).mkdir(parents=True)
    (run.checkpoint(4) / HISTORY).write_text(content)
    assert run.latest() is None


def test_a_checkpoint_whose_best_model_is_missing_does_not_count(run: RunFolder) -> None:
    save(run, 4, BASE.after(4, [0.5, 0.5]))
    run.best(4).rmdir()
    assert run.latest() is None


def test_the_old_best_model_stays_until_the_new_checkpoint_is_complete(run: RunFolder) -> None:
    first = BASE.after(4, [0.5, 0.5])
    save(run, 4, first)
    run.best(8).mkdir()
    assert run.latest() == (run.checkpoint(4), first)
    assert run.best(4).exists()
    save(run, 8, first.after(8, [0.6, 0.6]))
    assert not run.best(4).exists()


def test_a_cleared_run_is_gone(run: RunFolder) -> None:
    save(run, 4, BASE.after(4, [0.5, 0.5]))
    run.clear()
    run.clear()
    assert not run.path.exists()
