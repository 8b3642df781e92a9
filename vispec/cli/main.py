"""The `vispec` program: finds the command, runs it, and turns every way to fail into a message and an exit code.

    0 done   1 spec, data or file error, or nobody reads on   2 usage   3 diverged   4 verification differs
    5 another process was lost   70 a bug in vispec   130 interrupted

A command is one file of vispec/cli/commands with an ENTRY; it is imported only when it is run or listed.
"""

import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import click

from vispec import __version__
from vispec.cli.failures import lack, say
from vispec.cli.streams import open_streams
from vispec.diagnostics import SpecError, dump, render, to_json
from vispec.lazy import FRAMES, ahead

COMMANDS = "vispec.cli.commands"


class Program(click.Group):
    """A group whose commands are the modules of vispec.cli.commands, and whose failures never show a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(module.name.replace("_", "-") for module in iter_modules([str(Path(__file__).with_name("commands"))]))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module = f"{COMMANDS}.{cmd_name.replace('-', '_')}"
        ahead(module)
        return import_module(module).ENTRY.command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f" Did you mean `{near[0]}`?" if near else ""
            raise click.UsageError(error.message + hint, ctx) from None

    def main(self, args: Sequence[str] | None = None, *rest: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run the program and leave with its exit code; `standalone_mode=False` lets exceptions through."""
        arguments = list(sys.argv[1:] if args is None else args)
        if not standalone_mode:
            return super().main(arguments, *rest, standalone_mode=False, **extra)
        open_streams()
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # or threads that wait take the processor from those that compute
        FRAMES.set(False)
        try:
            result = super().main(arguments, *rest, standalone_mode=False, **extra)
            sys.stdout.flush()
            code = result if isinstance(result, int) else 0
        except BaseException as error:
            code = report(error, as_json="--json" in arguments)
        sys.exit(code)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="vispec")
def main() -> None:
    """Plate notation to standalone PyTorch: check, draw, explain, compile and fit a model written as text.

    vispec COMMAND --help says more about a command.
    """


def report(error: BaseException, as_json: bool = False) -> int:
    """Tell the user what went wrong, on standard error or as one JSON object on standard output; the exit code."""
    if isinstance(error, BrokenPipeError):  # click catches those of commands, quietly too, and exits with 1
        return 1
    if isinstance(error, click.exceptions.Abort | KeyboardInterrupt):
        return tell("interrupted", 130)
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, SpecError):
        found = [to_json(error.source, diagnostic) for diagnostic in error.diagnostics]
        return tell_found(found, render(error.source, error.diagnostics), as_json)
    if isinstance(error, OSError):
        name = f"{error.filename}: " if error.filename is not None else ""
        return tell(f"error: {name}{error.strerror or error}", 1)
    if isinstance(error, UnicodeDecodeError):
        return tell(f"error: a file is not UTF-8 text (byte {error.start} is {error.object[error.start]:#04x})", 1)
    return report_run(error, as_json)


def report_run(error: BaseException, as_json: bool) -> int:
    """The failures of data and of fits; anything else is a bug of vispec."""
    from vispec.train import errors

    data: Any = sys.modules.get("vispec.train.data.diagnostics")  # not imported: none of its errors was raised
    if data is not None and isinstance(error, data.DataError):
        found = [data.to_json(diagnostic) for diagnostic in getattr(error, "diagnostics")]  # noqa: B009
        return tell_found(found, str(error), as_json)
    for kind, code in (
        (errors.RunError, 1),
        (errors.DivergenceError, 3),
        (errors.VerificationError, 4),
        (errors.LostError, 5),
        (errors.InterruptionError, 130),
    ):
        if isinstance(error, kind):
            return tell(f"error: {error}", code)
    if (short := lack(error)) is not None:
        return tell(f"error: {short}", 1)
    if os.environ.get("VISPEC_DEBUG") == "1":
        raise error
    bug = f"internal error in vispec {__version__}: {type(error).__name__}: {error}"
    request = "This is a bug: please report it with the spec and the command. VISPEC_DEBUG=1 shows where it happened."
    return tell(f"{bug}\n{request}", 70)


def tell(message: str, code: int) -> int:
    say(message)
    return code


def tell_found(found: list[dict[str, Any]], text: str, as_json: bool) -> int:
    """Diagnostics, in the form that was asked for."""
    if as_json:
        click.echo(dump({"ok": False, "diagnostics": found}))
    else:
        say(text.rstrip("\n"))
    return 1
