"""vispec fit: train the module that `vispec compile` prints, into a run folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vispec.catalog import Command
from vispec.cli.failures import failures
from vispec.cli.options import (
    Greedy,
    batch_option,
    device_option,
    json_option,
    memory_option,
    read_source,
    reading_options,
    seed_option,
    set_option,
    split_sets,
    threads_option,
    trust_option,
    trusted,
    use_threads,
    work_option,
)
from vispec.diagnostics import dump
from vispec.lazy import ahead
from vispec.train.reading import Reading

if TYPE_CHECKING:
    from vispec.train.store.run import Run

SETTINGS = ("epochs", "batch", "lr", "seed", "restarts", "threads", "device", "patience", "precision", "save_every", "native")


@click.command("fit", cls=Greedy)
@click.argument("spec", type=click.Path(path_type=Path))
@click.argument("data", nargs=-1, required=True)
@click.option(
    "--valid",
    multiple=True,
    metavar="DATA...",
    help="Validation data, or a fraction of the rows, as 0.1; picks the best epoch and feeds --patience.",
)
@reading_options
@set_option
@click.option("--out", type=click.Path(path_type=Path), help="The run folder (default: runs/SPEC-N, a new one).")
@click.option("--from", "start_from", metavar="RUN", type=click.Path(path_type=Path), help="Start at another run's parameters.")
@click.option(
    "--params",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Start at the values of a JSON file, by name, as `vispec params --json` prints them.",
)
@click.option(
    "--epochs",
    type=click.IntRange(1),
    help="Passes through the data (default: 10 and 2000 steps at least, ten times as many at most, until it has converged).",
)
@batch_option
@click.option("--lr", type=click.FloatRange(0, min_open=True), help="Learning rate, for a loss per row.")
@seed_option
@click.option("--restarts", type=click.IntRange(1), help="Fits from different starts; the best one counts.")
@click.option("--patience", type=click.IntRange(1), help="Stop after so many epochs without improvement.")
@threads_option
@device_option
@click.option(
    "--precision",
    type=click.Choice(["float32", "float64", "bf16"]),
    help="Of the numbers; bf16: of products within nets, while they learn.",
)
@click.option(
    "--native",
    type=click.Choice(["auto", "on", "off"]),
    help="Kernels in C++: those built on this machine, others for the next fit; built now; or none (default: auto).",
)
@memory_option
@work_option
@click.option("--save-every", type=click.FloatRange(0), metavar="SECONDS", help="Time between checkpoints (default 30).")
@click.option("--resume", is_flag=True, help="Go on with the run in --out, or with the latest one of this spec.")
@click.option("--check-data", is_flag=True, help="With --resume, compare what data files hold, whatever their size and time.")
@trust_option
@click.option("--no-verify", is_flag=True, help="Do not compare the module with brute force at tiny sizes beside the fit.")
@json_option
def fit(
    spec: Path,
    data: tuple[str, ...],
    valid: tuple[str, ...],
    reading: Reading,
    sets: tuple[str, ...],
    out: Path | None,
    start_from: Path | None,
    params: Path | None,
    memory: int | None,
    work: int | None,
    resume: bool,
    check_data: bool,
    no_verify: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Fit SPEC to DATA and leave a run folder.

    DATA are files (CSV, TSV, Parquet, JSON lines, NPZ, text; gzip of any), or aligned files as x=FILE y=FILE. A fit that was
    interrupted or killed goes on with --resume as if never stopped. Under torchrun, all processes share each minibatch.
    """
    with failures(as_json):
        ahead("vispec.train.fitted")
        from vispec.train import fitted
        from vispec.train.loop.progress import reporter
        from vispec.train.setup.distributed import joined
        from vispec.train.setup.given import read_params
        from vispec.train.setup.prepare import Request

        source = read_source(spec, as_json)
        sizes, settings = split_sets(source, sets)
        settings |= {key: options[key] for key in SETTINGS if options[key] is not None}
        use_threads(options["threads"])
        fraction = fraction_of(valid)
        if fraction is not None:
            settings, valid = settings | {"valid": fraction}, ()
        told = {"memory": memory, "work": work, "start": start_from}
        told |= {"params": None if params is None else read_params(params), "trust": trusted(), "check_data": check_data}
        request = Request(source, data, valid, reading, sizes, settings, out, **told)
        with joined() as group, request.claim:
            run, result = fitted.fit(request, resume, group, not no_verify, reporter(group.main))
        if group.main:
            report(run, result, as_json)


def fraction_of(valid: tuple[str, ...]) -> float | None:
    """The part of the rows that `--valid` asks to hold out, where it is a number and no file."""
    try:
        found = float(valid[0]) if len(valid) == 1 and not Path(valid[0]).exists() else None
    except ValueError:
        return None
    return found


def report(run: "Run", result: dict[str, Any], as_json: bool) -> None:
    """The result on standard output."""
    if as_json:
        click.echo(dump({"run": str(run.folder), **result}))
        return
    from vispec.answers.summary import summary

    click.echo("\n".join(summary(run, result)))


ENTRY = Command("fit", fit)
