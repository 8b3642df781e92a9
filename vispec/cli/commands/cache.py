"""vispec cache: what is kept of large data, and its removal."""

import shutil
from pathlib import Path

import click

from vispec.catalog import Command
from vispec.cli.failures import failures
from vispec.cli.options import json_option
from vispec.diagnostics import dump, plain


@click.command("cache")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--clear", is_flag=True, help="Remove them.")
@json_option
def cache(folder: Path | None, clear: bool, as_json: bool) -> None:
    """The files of encoded data, those of the user or of the FOLDER that --cache named: how many bytes each has, and rows."""
    with failures(as_json):
        from vispec.train.data.cached.store import listed, root_of

        root = root_of("auto") if folder is None else folder
        found = listed(root)
        for each in found if clear else ():
            shutil.rmtree(each.folder)
    if as_json:
        click.echo(dump([{"folder": str(each.folder), "rows": each.rows, "bytes": each.size} for each in found]))
        return
    for each in found:
        click.echo(f"{plain(str(each.folder))}: {each.rows} rows, {each.size / 1e6:.1f} MB{', removed' if clear else ''}")
    if not found:
        click.echo(f"{plain(str(root))}: nothing is kept")


ENTRY = Command("cache", cache)
