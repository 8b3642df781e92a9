"""vispec compile: the PyTorch module of a spec, as text."""

from pathlib import Path

import click

from vispec.catalog import Command
from vispec.cli.failures import failures
from vispec.cli.options import memory_option, read_source, reading_options, set_option, split_sets, work_option
from vispec.lazy import ahead
from vispec.train.reading import Reading


@click.command("compile")
@click.argument("spec", type=click.Path(path_type=Path))
@click.argument("data", nargs=-1)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="The file to write (default: standard output).")
@click.option("--only", metavar="A,B", help="Print these members, such as log_prob, and what they need.")
@click.option(
    "--native",
    type=click.Choice(["on", "off"]),
    help="Carry kernels in C++, built once per machine, beside those of torch (default: on, and off with --only).",
)
@reading_options
@set_option
@memory_option
@work_option
def compile_command(
    spec: Path,
    data: tuple[str, ...],
    output: Path | None,
    only: str | None,
    native: str | None,
    reading: Reading,
    sets: tuple[str, ...],
    memory: int | None,
    work: int | None,
) -> None:
    """Print the standalone module of SPEC. Sizes that only data can tell are constructor arguments, unless DATA tells them."""
    with failures():
        ahead("vispec.compile")
        from vispec.compile import compile_spec
        from vispec.torch.members.only import UnknownMemberError

        source = read_source(spec)
        sizes, _ = split_sets(source, sets)
        if data:
            from vispec.train.data import load
            from vispec.train.sizes import check

            sizes = dict(load(check(source, sizes), data, sizes=sizes, **reading.options).sizes)
        members = [] if only is None else [name.strip() for name in only.split(",")]
        try:
            text = compile_spec(source, sizes, memory, work, members, None if native is None else native == "on")
        except UnknownMemberError as error:
            raise click.UsageError(f"--only {only}: {error}") from error
        if output is None:
            click.echo(text, nl=False)
        else:
            output.write_text(text, encoding="utf-8")


ENTRY = Command("compile", compile_command)
