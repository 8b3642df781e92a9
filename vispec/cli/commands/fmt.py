"""`vispec fmt SPEC...`: every spec in its canonical form, written in place; exit code 1 where one does not parse."""

import os
import stat
import tempfile
from pathlib import Path

import click

from vispec.catalog import Command
from vispec.cli.failures import say
from vispec.diagnostics import SpecError, dump, render, to_json
from vispec.source import Source


@click.command("fmt")
@click.argument("specs", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 where a file is not in canonical form.")
@click.option("--stdout", is_flag=True, help="Print the canonical form instead of writing it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object that says which files changed.")
@click.pass_context
def fmt_command(context: click.Context, specs: tuple[Path, ...], check: bool, stdout: bool, as_json: bool) -> None:
    """Rewrite each SPEC in canonical form: indentation, spaces, columns. Comments and single blank lines are kept."""
    if stdout and as_json:
        raise click.UsageError("--stdout and --json both print to standard output; choose one")
    results = [_format_file(path, write=not check and not stdout) for path in specs]
    for path, (formatted, changed, errors) in zip(specs, results, strict=True):
        if errors is not None and not as_json:
            say(render(errors.source, errors.diagnostics).rstrip("\n"))
        elif stdout:
            click.echo(formatted, nl=False)
        elif changed and not as_json:
            click.echo(f"{'would rewrite' if check else 'rewrote'} {path}", err=True)
    failed = any(errors is not None for _, _, errors in results)
    ok = not failed and not (check and any(changed for _, changed, _ in results))
    if as_json:
        click.echo(dump({"ok": ok, "files": [_as_json(path, *result) for path, result in zip(specs, results, strict=True)]}))
    context.exit(0 if ok else 1)


def _format_file(path: Path, write: bool) -> tuple[str, bool, SpecError | None]:
    """The canonical text, whether the file differs from it, and what keeps it from being read."""
    from vispec.syntax.format import format_tree
    from vispec.syntax.parse import parse

    try:
        formatted = format_tree(parse(Source.read(path)))
    except SpecError as errors:
        return "", False, errors
    changed = path.read_bytes() != formatted.encode()
    if changed and write:
        replace(path, formatted)
    return formatted, changed, None


def replace(path: Path, text: str) -> None:
    """Put `text` in the place of the file, at once and with its permissions; a link stays a link."""
    target = path.resolve()
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as out:
            out.write(text)
        os.chmod(name, stat.S_IMODE(target.stat().st_mode))
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise


def _as_json(path: Path, formatted: str, changed: bool, errors: SpecError | None) -> dict[str, object]:
    found = [to_json(errors.source, diagnostic) for diagnostic in errors.diagnostics] if errors is not None else []
    return {"file": str(path), "changed": changed, "diagnostics": found}


ENTRY = Command("fmt", fmt_command)
