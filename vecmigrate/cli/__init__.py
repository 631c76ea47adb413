"""The command line: one thin file per verb that parses, calls and prints. Nothing heavy is imported until a verb runs."""

from __future__ import annotations

import faulthandler
import importlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import rich_click as click
from click.exceptions import Exit

from vecmigrate import __version__
from vecmigrate.cli.session import Session
from vecmigrate.errors import VecmigrateError

INTERRUPTED = 130

VERBS: Mapping[str, tuple[str, str]] = {
    "init": ("init", "Look at a store and write vecmigrate.toml."),
    "inspect": ("inspect", "What is in the store, and did the named model make its vectors?"),
    "doctor": ("doctor", "Check the environment, the store, privileges and models."),
    "logs": ("logs", "Read the query log and say what it is worth."),
    "dataset": ("dataset", "Freeze chunks, queries and judgments for training and testing."),
    "train": ("train", "Fine-tune a model on the dataset."),
    "models": ("catalog", "The model versions at hand."),
    "shadow": ("shadow", "Build a new index version beside the live one."),
    "compare": ("compare", "Old and new retrieval side by side, with statistics and a gate."),
    "query": ("query", "One question, answered by the version that serves and by a candidate."),
    "plan": ("plan", "What a cutover would do, and what undoes it."),
    "cutover": ("cutover", "Move readers to a new version, atomically."),
    "rollback": ("rollback", "Move readers back, atomically."),
    "publish": ("publish", "A version under the application's own name, for applications that can't change."),
    "verify": ("verify", "Prove that a version is complete and made by its model."),
    "status": ("status", "Which version serves, and how the others stand."),
    "history": ("history", "Everything that happened to the collection."),
    "retire": ("retire", "Destroy a standby version for good."),
    "demo": ("demo", "The whole job on a throw-away store, with real texts."),
    "completion": ("completion", "Print the shell's completion script."),
}
"""Verb → (module in this package, one line of help). The module has a command of the verb's name, `<verb>_command`."""


class VerbGroup(click.RichGroup):
    """Loads a verb's module when the verb is called; the list of verbs needs none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs, in the order of the job."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command, or for the overview a bare one with its line of help."""
        if cmd_name not in VERBS:
            return None
        module, line = VERBS[cmd_name]
        if ctx.resilient_parsing or not getattr(ctx, "_listing", False):
            command: click.Command = getattr(importlib.import_module(f"vecmigrate.cli.{module}"), f"{cmd_name}_command")
            command.short_help = command.short_help or line
            return _with_common_options(command)
        return click.RichCommand(name=cmd_name, help=line, short_help=line)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """List the verbs without importing them."""
        ctx._listing = True  # read back in get_command, within this call alone
        super().format_help(ctx, formatter)


def _remember(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    session = ctx.find_object(Session)
    if value and session is not None and param.name is not None:
        setattr(session, param.name, value)


def common_options() -> list[click.Option]:
    """The options that every verb takes, before or after its name."""
    flags = [
        (["--json", "as_json"], "Print one JSON object on stdout."),
        (["--yes", "-y"], "Go ahead without asking."),
        (["--quiet", "-q"], "No progress on stderr."),
        (["--verbose", "-v"], "Show the traceback of an error."),
    ]
    path = click.Path(path_type=Path, dir_okay=False)
    config = click.Option(
        ["--config", "config_path"], type=path, callback=_remember, expose_value=False, is_eager=True, help="Use this vecmigrate.toml."
    )
    return [config, *(click.Option(names, is_flag=True, callback=_remember, expose_value=False, help=text) for names, text in flags)]


def _with_common_options(command: click.Command) -> click.Command:
    """The command, and a group's subcommands, with the common options; given them once."""
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            _with_common_options(inner)
    elif not any(p.name == "as_json" for p in command.params):
        command.params += common_options()
    return command


class _Root(VerbGroup):
    """Makes the session before any option is read, so that the options can be noted in it."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """As click's, with the session as the context's object."""
        return super().make_context(*args, **{"obj": Session(), **kwargs})


@click.group(cls=_Root, params=common_options(), context_settings={"help_option_names": ["-h", "--help"]}, no_args_is_help=True)
@click.version_option(__version__, prog_name="vecmigrate")
@click.pass_context
def root(ctx: click.Context) -> None:
    """Fine-tune an embedding model on your own query log, and move a live vector store to it, reversibly.

    Start with `vecmigrate demo`, or with `vecmigrate init` on your own store.
    """
    ctx.with_resource(ctx.obj)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run and exit with the documented code: 0 ok, 1 error, 2 usage, 3 gate, 4 preflight, 5 conflict, 6 stale plan,
    7 store unavailable, 130 interrupted.
    """
    faulthandler.enable()  # a driver that crashes is named by the traceback
    args = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(run(args))


def run(args: list[str]) -> int:
    """As `main`, returning the exit code."""
    verbose = bool({"--verbose", "-v"} & set(args))
    session = Session()
    try:
        result = root.main(args=args, prog_name="vecmigrate", standalone_mode=False, obj=session)
        return result if isinstance(result, int) else 0
    except Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        if "--json" in args:
            _print_json(type(error).__name__, error.format_message(), "", error.exit_code)
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("\ninterrupted; what was finished is kept: the same command goes on from there", err=True)
        return INTERRUPTED
    except VecmigrateError as error:
        return _fail(error, as_json="--json" in args and not session.emitted, verbose=verbose)


def _fail(error: VecmigrateError, *, as_json: bool, verbose: bool) -> int:
    if verbose:
        import traceback

        traceback.print_exception(error)
    if as_json:
        _print_json(type(error).__name__, error.message, error.hint, error.exit_code)
    click.echo(f"error: {error.message}", err=True)
    if error.hint:
        click.echo(f"hint: {error.hint}", err=True)
    return error.exit_code


def _print_json(error: str, message: str, hint: str, exit_code: int) -> None:
    import json

    click.echo(json.dumps({"error": error, "message": message, "hint": hint, "exit_code": exit_code}))
