"""`vecmigrate train`: fine-tune a model on the dataset."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import rich_click as click

if TYPE_CHECKING:
    from vecmigrate.cli.session import Session
    from vecmigrate.config import TrainingSection
    from vecmigrate.dataset import Dataset
    from vecmigrate.training import TrainingRequest, TrainingResult

_UNITS = {"s": 1 / 60, "m": 1.0, "h": 60.0}


class _Duration(click.ParamType):  # type: ignore[type-arg]  # the stubs differ from the library
    """`90s`, `20m` or `1.5h`, in minutes."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh])", str(value).strip())
        if found is None or not float(found[1]):
            self.fail(f"{value!r} is no duration; write 90s, 20m or 1.5h", param, ctx)
        return float(found[1]) * _UNITS[found[2]]


@click.command("train")
@click.option("--dataset", "reference", metavar="HASH", help="Which dataset [default: the newest].")
@click.option("--base", help="The model to start from [default: that of [training], else the control].")
@click.option("--name", help="What to call the model [default: from the base and the run].")
@click.option(
    "--rung",
    "rungs",
    multiple=True,
    type=click.Choice(["adapter", "query", "full"]),
    help="What to tune, the cheapest first; may be repeated [default: adapter and full].",
)
@click.option(
    "--goal", type=click.FloatRange(min=0, min_open=True), help="The gain that is enough: the cheapest rung that reaches it wins."
)
@click.option(
    "--budget",
    "budget_minutes",
    type=_Duration(),
    help="How long to search for better settings, such as 20m [default: by the number of pairs].",
)
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the pairs [default: searched].")
@click.option("--learning-rate", type=click.FloatRange(min=0, min_open=True), help="The highest rate [default: searched].")
@click.option("--seed", type=int, help="Same data, settings and seed give the same model on a CPU.")
@click.option("--fresh", is_flag=True, help="Begin anew instead of resuming a run that was stopped.")
@click.option("--launch", type=click.IntRange(min=2), metavar="N", help="Train on N processes, one for each GPU.")
@click.pass_obj
def train_command(
    session: Session,
    /,
    reference: str | None,
    base: str | None,
    name: str | None,
    fresh: bool,
    launch: int | None,
    **given: Any,
) -> None:
    """Fine-tune a model on the dataset's pairs and hard negatives; dev queries choose the settings, and say whether it was worth it.

    What isn't given is searched: the learning rate, the passes, the loss, and how much of the tuning to keep. The verdict is "tuned",
    "interpolated" or "keep base", with its reasons. Killed or interrupted, the same command goes on from its last checkpoint.
    """
    from vecmigrate.cli.dataset import find_dataset
    from vecmigrate.training import OnlyHelped, TrainingRequest

    if launch is not None and not _launched():
        _launch(launch)
        return
    dataset = find_dataset(session, reference)
    settings = _settings(session, given)
    chosen = base or settings.base
    request = TrainingRequest(
        base=session.model(chosen) if chosen else session.control,
        catalog=session.catalog,
        folder=session.folder("training"),
        training=settings,
        encoding=session.config.encoding,
        name=name,
        lineage={"dataset": dataset.hash, "collection": dataset.collection},
        fresh=fresh,
        graded=dataset.graded_pairs() if settings.loss in ("cosent", "cosine") else (),
        remine=_remine(session, dataset),
        root=session.config.root,
        chunks=dataset.counts["chunks"],
    )
    try:
        result = _train(session, dataset, request)
    except OnlyHelped:
        raise SystemExit(0) from None
    _tell(session, dataset, result)


def _settings(session: Session, given: dict[str, Any]) -> TrainingSection:
    changes = {name: value for name, value in given.items() if value not in (None, ())}
    return session.config.training.model_copy(update=changes)


def _remine(session: Session, dataset: Dataset) -> Any:
    """What mines anew with a tuned encoder, by the rules of `[dataset]`."""
    from vecmigrate.dataset import remine

    return lambda encoder, *, seed: remine(dataset, encoder, session.config.dataset, seed=seed)[0]


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


def _tell(session: Session, dataset: Dataset, result: TrainingResult) -> None:
    from vecmigrate.dataset import Split, caution

    entry = result.entry
    warning = caution(dataset.queries(Split.DEV))
    lines = [*([f"caution: {warning}"] if warning else []), *result.lines()]
    tuned = f"vecmigrate shadow build --model {entry.model.name}"
    kept = f"keep the model you have; to look all the same: {tuned}"
    data = result.to_dict() | {"fingerprint": entry.model.fingerprint}
    session.emit(data, lines, following=kept if result.verdict == "keep base" else tuned)


# ── several processes ──


def _launched() -> bool:
    """Whether this process was one of several that train together."""
    import os

    return "RANK" in os.environ


def _launch(processes: int) -> None:
    """Run the same command in so many processes, and end as they do."""
    import subprocess
    import sys

    arguments = [argument for place, argument in enumerate(sys.argv[1:]) if not _is_launch(sys.argv[1:], place)]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command += ["-m", "vecmigrate", *arguments]
    ended = subprocess.run(command, check=False)  # noqa: S603  # our own arguments, no shell
    raise SystemExit(ended.returncode)


def _is_launch(arguments: list[str], place: int) -> bool:
    return arguments[place].startswith("--launch") or (place > 0 and arguments[place - 1] == "--launch")
