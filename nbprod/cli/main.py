"""The `nbprod` command: finds its subcommands in entry points and turns errors into text."""

import contextlib
import os
import sys
from collections.abc import Sequence

import click

from nbprod.core.errors import NbprodError
from nbprod.core.imports import SCHEMA_FORMATS, leave_out

#: Exit codes, the same for every command.
DONE, FAILED, MISUSED, BLOCKED = 0, 1, 2, 3
#: jupytext's part for JupyterLab, which loads a web server. Reading a script needs none.
JUPYTER_SERVER = ("jupytext.sync_contentsmanager", "jupytext.async_contentsmanager")


class _Commands(click.Group):
    """Subcommands from the entry point group `nbprod.commands`: ours and any package's."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        from nbprod.core.plugins import installed

        return sorted(installed("nbprod.commands"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        from nbprod.core.plugins import installed

        entry = installed("nbprod.commands").get(cmd_name)
        if entry is None:
            return None
        command = entry.load()
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        import difflib

        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f"Did you mean: nbprod {near[0]}" if near else "See them all: nbprod --help"
            raise click.UsageError(f"There is no command {args[0]!r}. {hint}")
        return super().resolve_command(ctx, args)


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="nbprod", message="nbprod %(version)s")
def cli() -> None:
    """Take a notebook to production: run it, trust its numbers, promote its model.

    Exit codes: 0 done, 1 failed, 2 misused, 3 blocked by a gate.
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    leave_out(*SCHEMA_FORMATS, *JUPYTER_SERVER)
    code = invoke(arguments)
    let_go_of_closed_pipes()
    sys.exit(code)


def let_go_of_closed_pipes() -> None:
    """Keep the exit code: Python's own flush at exit would make it 120 when a reader has left."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def invoke(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code: the one place where errors become text."""
    try:
        code = cli.main(args=arguments, prog_name="nbprod", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as stopped:
        click.echo(_cancelled(stopped), err=True)
        return FAILED
    except NbprodError as error:
        click.echo(str(error), err=True)
        return _code_of(error)
    except BrokenPipeError:
        # The reader of a pipe went away (`nbprod runs list | head`): that is no failure, but
        # the interpreter would complain when it flushes stdout at exit.
        sys.stdout = None
        return DONE
    except OSError as error:
        click.echo(_os_error(error), err=True)
        return FAILED
    return code if isinstance(code, int) else DONE


def _code_of(error: NbprodError) -> int:
    """Misuse is what the caller can correct by asking differently: names and values."""
    return MISUSED if isinstance(error, LookupError | ValueError | FileNotFoundError) else FAILED


def _cancelled(stopped: BaseException) -> str:
    # click wraps what it catches. A RunInterrupted knows its run; importing it loads the store.
    run = getattr(stopped.__cause__ or stopped, "run", "")
    return f"Cancelled. See how far it came: nbprod runs show {run}" if run else "Cancelled."


def _os_error(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    return (
        f"The system refused: {error.strerror or error}{where}.\n"
        "Nothing was left half-done; what is written is in the store.\n"
        "See disk, permissions and services: nbprod doctor"
    )
