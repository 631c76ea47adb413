"""`vecmigrate completion`: the shell's completion script."""

from __future__ import annotations

import rich_click as click


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the shell's completion script, for example: eval "$(vecmigrate completion bash)"."""
    from click.shell_completion import get_completion_class

    from vecmigrate.cli import root

    found = get_completion_class(shell)
    if found is None:
        raise click.UsageError(f"there is no completion for {shell}")
    click.echo(found(root, {}, "vecmigrate", "_VECMIGRATE_COMPLETE").source())
