"""`vecmigrate train`: fine-tune a model on the dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rich_click as click

if TYPE_CHECKING:
    from vecmigrate.cli.session import Session
    from vecmigrate.dataset import Dataset
    from vecmigrate.training import TrainingRequest, TrainingResult


@click.command("train")
@click.option("--dataset", "reference", metavar="HASH", help="Which dataset [default: the newest].")
@click.option("--base", help="The model to start from [default: that of [training], else the control].")
@click.option("--name", help="What to call the model [default: from the base and the run].")
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the pairs.")
@click.option("--seed", type=int, help="Same data, settings and seed give the same model on a CPU.")
@click.option("--fresh", is_flag=True, help="Begin anew instead of resuming a run that was stopped.")
@click.pass_obj
def train_command(
    session: Session, reference: str | None, base: str | None, name: str | None, epochs: int | None, seed: int | None, fresh: bool
) -> None:
    """Fine-tune a model on the dataset's pairs and hard negatives; dev queries say when to stop, and whether it was worth it.

    The verdict is "tuned" or "keep base". Killed or interrupted, the same command goes on from its last checkpoint.
    """
    from vecmigrate.cli.dataset import find_dataset
    from vecmigrate.training import TrainingRequest

    dataset = find_dataset(session, reference)
    changes = {k: v for k, v in {"epochs": epochs, "seed": seed}.items() if v is not None}
    chosen = base or session.config.training.base
    request = TrainingRequest(
        base=session.model(chosen) if chosen else session.control,
        catalog=session.catalog,
        folder=session.folder("training"),
        training=session.config.training.model_copy(update=changes),
        encoding=session.config.encoding,
        name=name,
        lineage={"dataset": dataset.hash, "collection": dataset.collection},
        fresh=fresh,
    )
    result = _train(session, dataset, request)
    data = result.to_dict() | {"fingerprint": result.entry.model.fingerprint}
    tuned = f"vecmigrate shadow build --model {result.entry.model.name}"
    kept = f"keep the model you have; to look all the same: {tuned}"
    session.emit(data, result.lines(), following=tuned if result.verdict == "tuned" else kept)


def _train(session: Session, dataset: Dataset, request: TrainingRequest) -> TrainingResult:
    from vecmigrate.training import train

    with session.progress("train") as bar:
        task = bar.add_task("", total=None, status="")

        def show(step: int, total: int, loss: float | None, dev_score: float | None, attempt: str) -> None:
            parts = [
                attempt,
                f"loss {loss:.3f}" if loss is not None else "",
                f"dev nDCG@10 {dev_score:.3f}" if dev_score is not None else "",
            ]
            bar.update(task, completed=step, total=total, status=", ".join(p for p in parts if p))

        return train(dataset.training_pairs(), dataset.dev_set(), request, progress=show)
