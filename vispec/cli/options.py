"""Options that several commands share, and how their values are read."""

import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vispec.cli.failures import FAILED, fail, say
from vispec.diagnostics import dump
from vispec.screen import shown
from vispec.source import Source
from vispec.train.reading import Reading

if TYPE_CHECKING:
    import torch

    from vispec.answers.elements import Told
    from vispec.train.data import Dataset
    from vispec.train.store.run import Run

TRUST = "vispec.trust"
Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
jsonl_option = click.option("--jsonl", is_flag=True, help="Print one JSON object per row.")
set_option = click.option(
    "--set", "sets", multiple=True, metavar="K=V", help="A size of the spec, or an entry of its `fit:` block."
)
batch_option = click.option("--batch", type=click.IntRange(1), help="Rows per minibatch.")
device_option = click.option("--device", metavar="NAME", help="cpu, cuda, cuda:1, ... or auto (default cpu).")
threads_option = click.option(
    "--threads", type=click.IntRange(1), help="CPU threads (default: one for little work, else as torch chooses)."
)


class Memory(click.ParamType):
    """A number of bytes: 2GB, 512MiB, or 25% of this machine's memory."""

    name = "memory"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        return "2GB"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?i?B|%)\s*", value, re.IGNORECASE)
        number = float(found[1]) * unit(found[2].upper()) if found else 0
        if number < 1:
            self.fail(f"{value!r} is no amount of memory; write one such as 2GB, 512MiB or 25%", param, ctx)
        return int(number)


def unit(name: str) -> float:
    """Bytes in a KB, a KIB, ..., or in a hundredth of this machine's memory."""
    if name == "%":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 100
    return (1024 if "I" in name else 1000) ** " KMGT".index(name[0] if len(name) > 1 else " ")


memory_option = click.option(
    "--memory",
    type=Memory(),
    help="What a sum over joint values may take at once: 2GB, 512MiB, 25% (default: 1GiB, or as in the run).",
)
work_option = click.option(
    "--work",
    type=click.IntRange(1),
    metavar="N",
    help="The most terms (multiply-adds) that the sums for one row may have (default: 10^9, or as the spec says).",
)
seed_option = click.option("--seed", type=click.IntRange(0), help="All that is random follows from it (default 0).")


def _remember(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    ctx.meta[TRUST] = value


trust_option = click.option(
    "--trust",
    is_flag=True,
    expose_value=False,
    callback=_remember,
    help="Take run folders as they are, whatever has changed in them, and run their module.py.",
)


def trusted() -> bool:
    """Whether the command was given --trust."""
    return click.get_current_context().meta.get(TRUST, False)


def run_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """RUN, or a spec that leaves nothing to fit, and --trust, which `open_run` asks for."""
    return click.argument("run", type=click.Path(path_type=Path))(trust_option(command))


params_option = click.option(
    "--params",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The parameters of a spec in place of RUN, by name, as `vispec params --json` prints them.",
)

READING = (
    click.option(
        "--columns", multiple=True, metavar="x=a,b", help="Which columns of the data feed a variable, by name or as #number."
    ),
    click.option(
        "--index", multiple=True, metavar="PLATE=a", help="The column that says in which element of a plate a row stands."
    ),
    click.option("--absent", multiple=True, metavar="y", help="A partial variable of which these data have no values."),
    click.option("--drop-missing", is_flag=True, help="Leave out rows in which a value is missing that must be there."),
    click.option(
        "--cache",
        metavar="DIR|always|never",
        default="auto",
        help="Where data past 256 MB are encoded, once, to be read from there; or whether any are.",
    ),
)


def reading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say how tables are read, which the command gets as one `reading`."""

    @wraps(command)
    def called(
        *args: Any,
        columns: Sequence[str],
        index: Sequence[str],
        absent: Sequence[str],
        drop_missing: bool,
        cache: str,
        **rest: Any,
    ) -> Any:
        names = tuple(name.strip() for text in absent for name in text.split(","))
        reading = Reading(column_map(columns), pairs(index, "--index"), names, drop_missing, cache=cache)
        return command(*args, reading=reading, **rest)

    for option in reversed(READING):
        called = option(called)
    return called


new_option = click.option(
    "--new",
    type=click.Choice(["prior"]),
    help="Rows of groups that the fit did not meet: what is latent of them comes from its law.",
)
data_argument = click.argument("data", nargs=-1, required=True)


class Greedy(click.Command):
    """A command whose `--valid` takes all arguments up to the next option; `--valid=FILE` takes one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, spread(args, "--valid"))


def spread(args: Sequence[str], option: str) -> list[str]:
    """`--valid a b --json` as `--valid a --valid b --json`."""
    out: list[str] = []
    taking, first = False, False
    for arg in args:
        if arg.startswith("-") and arg != "-":
            taking = first = arg == option
            out.append(arg)
            continue
        out += [option, arg] if taking and not first else [arg]
        first = False
    return out


def pairs(values: Sequence[str], option: str) -> dict[str, str]:
    """`K=V` options as a mapping; a usage error where one has no `=`."""
    found: dict[str, str] = {}
    for value in values:
        name, equals, content = value.partition("=")
        if not equals or not name.strip() or not content.strip():
            raise click.UsageError(f"{option} {value}: expected NAME=VALUE")
        found[name.strip()] = content.strip()
    return found


def column_map(values: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """`--columns x=a,b` as {"x": ("a", "b")}."""
    return {name: tuple(part.strip() for part in text.split(",")) for name, text in pairs(values, "--columns").items()}


def parse_sizes(values: Sequence[str]) -> dict[str, int]:
    """`--set K=20` where only sizes may be set; a usage error for anything but a whole number."""
    return {name: _size(name, text) for name, text in pairs(values, "--set").items()}


def _size(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) >= 1):
        raise click.UsageError(f"--set {name}={text}: a size is a whole number of at least 1")
    return int(text)


def split_sets(source: Source, values: Sequence[str]) -> tuple[dict[str, int], dict[str, Any]]:
    """`--set` values as sizes of the spec and settings of the fit; a usage error for anything else."""
    from vispec.train.setup.settings import KEYS, parse_setting
    from vispec.train.sizes import size_names, vocabulary_names

    names = size_names(source)
    sizes: dict[str, int] = {}
    settings: dict[str, Any] = {}
    for name, text in pairs(values, "--set").items():
        if name in names:
            sizes[name] = _size(name, text)
        elif name in KEYS and name != "anneal":
            settings |= parse_setting(name, text)
        else:
            if name in vocabulary_names(source):
                told = (
                    f"`{name}` is a vocabulary, which DATA builds; without DATA its size is an argument of the emitted module"
                )
                raise click.UsageError(f"--set {name}={text}: {told}; `vocab {name}(max_size={text})` in the spec bounds it")
            known = ", ".join((*names, *(key for key in KEYS if key != "anneal")))
            raise click.UsageError(f"--set {name}={text}: the spec has no size `{name}`; it can set {known}")
    return sizes, settings


def read_source(path: Path, as_json: bool = False) -> Source:
    """The spec at `path`, or the end of the command."""
    try:
        return Source.read(path)
    except UnicodeDecodeError as error:
        fail(f"error: {path} is not UTF-8: {error.reason} at byte {error.start}", FAILED, as_json, diagnostics=[])
    except OSError as error:
        fail(f"error: cannot read {path}: {error.strerror}", FAILED, as_json, diagnostics=[])
    except ValueError as error:
        fail(f"error: cannot read {str(path)!r}: {error}", FAILED, as_json, diagnostics=[])


def use_threads(count: int | None) -> None:
    """Set torch's CPU threads, unless None."""
    import torch

    if count is not None:
        torch.set_num_threads(count)


def open_run(
    path: Path,
    device: str | None,
    threads: int | None,
    data: Sequence[str] = (),
    reading: Reading | None = None,
    params: Path | None = None,
) -> "tuple[Run, torch.device]":
    """The run and the device to use it on. Of a run that is not finished, it says which parameters are used. In place of a run
    a spec that leaves nothing to fit: to these data, or as `params` says."""
    from vispec.train.errors import RunError
    from vispec.train.setup.distributed import Group, choose_device
    from vispec.train.store.run import Run

    use_threads(threads)
    place = choose_device(device or "cpu", Group())
    if path.is_file():
        from vispec.train.loop.progress import reporter
        from vispec.train.setup.given import read_params
        from vispec.train.setup.prepare import Request
        from vispec.train.setup.still import still

        values = None if params is None else read_params(params)
        request = Request(read_source(path), tuple(data), reading=reading or Reading(), params=values)
        return still(request, reporter(True)), place
    if params is not None:
        raise RunError(f"--params says the parameters of a spec; {path} has its own")
    run = Run.open(path, trusted())
    if run.fresh:
        say(f"{path} has no manifest.json: its module is compiled anew from its spec; --trust runs its module.py")
    if not run.has_best and (path / "last.safetensors").exists():
        say(f"{path} is not finished and has no best.safetensors: these are the parameters of its last checkpoint")
    return run, place


def load_data(run: "Run", data: Sequence[str], reading: Reading) -> "Dataset":
    """Data for a run; what is to be told of them goes to standard error."""
    from vispec.answers import reading as read

    return read.load_data(run, data, reading, say)


def show_rows(found: "Iterable[Told]", jsonl: bool) -> None:
    """A row's answers after another's, as a reader or a program takes them."""
    from vispec.answers.show import describe

    number = 0
    for row, aligned in found:
        number += "(shared)" not in row
        click.echo(dump(row) if jsonl else shown(describe(number, row, aligned), sys.stdout))
