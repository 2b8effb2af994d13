"""`studio completion`: the script that makes the shell complete studio's commands and options."""

from __future__ import annotations

import click


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script; for bash: eval "$(studio completion bash)" in ~/.bashrc."""
    from click.shell_completion import get_completion_class

    from .main import command as top

    kind = get_completion_class(shell)
    if kind is not None:
        click.echo(kind(top, {}, "studio", "_STUDIO_COMPLETE").source())
