"""`vecmigrate train`: fine-tune a model on the dataset."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rich_click as click

if TYPE_CHECKING:
    from vecmigrate.cli.session import Session


@click.command("train")
@click.option("--dataset", "reference", metavar="HASH", help="Which dataset [default: the newest].")
@click.option("--base", help="The model to start from [default: that of [training], else the control].")
@click.option("--name", help="What to call the model [default: from the collection and the dataset].")
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

    dataset = find_dataset(session, reference)
    changes = {k: v for k, v in {"epochs": epochs, "seed": seed}.items() if v is not None}
    result = _train(session, dataset, _request(session, dataset, (base, name), changes, fresh))
    session.emit(result.to_dict(), result.lines(), following=f"vecmigrate shadow build --model {result.entry.model.name}")
