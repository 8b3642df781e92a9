"""vispec fit: train the module that `vispec compile` prints, into a run folder."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vispec.catalog import Command
from vispec.cli.failures import failures, say
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
from vispec.diagnostics import dump, plain
from vispec.train.errors import VerificationError
from vispec.train.reading import Reading

if TYPE_CHECKING:
    from vispec.train.estimates.values import Estimates
    from vispec.train.setup.distributed import Group
    from vispec.train.setup.job import Job, Result
    from vispec.train.setup.prepare import Request
    from vispec.train.setup.settings import Settings
    from vispec.train.store.checkpoint import Checkpoint
    from vispec.train.store.run import Run
    from vispec.verify.beside import Beside

SETTINGS = ("epochs", "batch", "lr", "seed", "restarts", "threads", "device", "patience", "save_every")
LINES = 20  # of the table of estimates


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
        from vispec.train.setup.distributed import join, leave
        from vispec.train.setup.prepare import Request

        source = read_source(spec, as_json)
        sizes, settings = split_sets(source, sets)
        settings |= {key: options[key] for key in SETTINGS if options[key] is not None}
        use_threads(options["threads"])
        fraction = fraction_of(valid)
        if fraction is not None:
            settings, valid = settings | {"valid": fraction}, ()
        told = {"memory": memory, "work": work, "start": start_from, "params": params}
        told |= {"trust": trusted(), "check_data": check_data}
        request = Request(source, data, valid, reading, sizes, settings, out, **told)
        group = join()
        try:
            with request.claim:
                run, result = start(request, resume, group, not no_verify)
        finally:
            leave(group)
        if group.main:
            report(run, result, as_json)


def fraction_of(valid: tuple[str, ...]) -> float | None:
    """The part of the rows that `--valid` asks to hold out, where it is a number and no file."""
    try:
        found = float(valid[0]) if len(valid) == 1 and not Path(valid[0]).exists() else None
    except ValueError:
        return None
    return found


def start(request: "Request", resume: bool, group: "Group", verified: bool) -> "tuple[Run, dict[str, Any]]":
    """Make or find the run, train it to its end, and write its report; the result is that of `fit --json`. verified: whether
    the spec is verified beside the fit, where the environment lets it."""
    from vispec.train.estimates.stored import read_estimates
    from vispec.train.loop.progress import reporter
    from vispec.train.setup.prepare import prepare, prepare_resume
    from vispec.train.store.report import write_report
    from vispec.verify.beside import Beside, wanted

    told = reporter(group.main)
    run = agreed(request, resume, group)
    checkpoint = None
    if run is None:
        run, job = prepare(request, group, told)
    else:
        run, job, checkpoint = prepare_resume(run, request, group, told)
    if checkpoint is not None and checkpoint.counters.finished:
        told.say(f"{run.folder} is finished already")
        if group.main and not (run.folder / "report.html").exists():
            write_report(run, read_estimates(run))
        return run, last_result(run)
    course = "second-order steps" if job.settings.optimizer == "newton" else epochs(job.settings)
    told.say(f"{'resuming' if checkpoint else 'fitting'} {run.folder}: {rows_of(job)}, {course}")
    use_threads(job.settings.threads)
    if not (verified and group.main and wanted()):
        return run, trained(request, run, job, checkpoint, None)
    with Beside(request.source) as beside:
        return run, trained(request, run, replace(job, halted=lambda: beside.differs), checkpoint, beside)


def trained(
    request: "Request", run: "Run", job: "Job", checkpoint: "Checkpoint | None", beside: "Beside | None"
) -> dict[str, Any]:
    """The result of the fit, and of the verification beside it, whose difference ends both."""
    from vispec.train.errors import InterruptionError
    from vispec.train.loop.fit import fit as train
    from vispec.train.store.report import write_report

    try:
        result = train(job, checkpoint)
    except (KeyboardInterrupt, InterruptionError):
        if beside is not None and beside.differs:
            judged(request, run, beside)
        if job.group.main:
            say(f"to go on: {resume_command(request, run)}")
        raise
    found, verdict = result.as_json(), None
    if job.group.main:
        estimates = estimated(run, job, result)
        error = None
        if beside is not None:
            try:
                verdict = judged(request, run, beside)
            except VerificationError as failure:
                error = failure
        write_report(run, estimates)
        if error is not None:
            raise error
    return found if verdict is None else found | {"verification": verdict}


def judged(request: "Request", run: "Run", beside: "Beside") -> dict[str, Any]:
    """What verification found, kept in the run's folder; VerificationError where something differs."""
    from vispec.train.store.manifest import put
    from vispec.train.store.run import VERIFY

    verdict = beside.finish()
    found = verdict.as_json()
    put(run.folder, {VERIFY: dump(found) + "\n"})
    if verdict.state == "differs":
        lines = [
            "the module of this spec is not what the spec says: it differs from brute force at tiny sizes"
            + " (kept from before)" * verdict.kept,
            *(f"  {line}" for line in verdict.wrong),
            "This is a fault of vispec: please report it with the spec. `vispec verify` shows all comparisons.",
            f"What was done is in {run.folder}; to go on nevertheless: {resume_command(request, run)} --no-verify",
        ]
        raise VerificationError("\n".join(lines), found)
    return found


def rows_of(job: "Job") -> str:
    """How many rows there are, and how many they stand for."""
    from vispec.train.scores.counted import total, weight_of

    found = f"{job.train.num_rows} rows"
    return found if weight_of(job.train) is None else f"{found} that stand for {total(job.train):g}"


def epochs(settings: "Settings") -> str:
    """How many there are to be."""
    if not settings.epochs:
        return "no steps: nothing is to be fitted"
    return f"{settings.epochs} epochs" if settings.least is None else f"{settings.least} to {settings.epochs} epochs"


def estimated(run: "Run", job: "Job", result: "Result") -> "Estimates | None":
    """The estimates of a fit that has ended, kept in its folder; None where the user would not wait for them."""
    from vispec.train.estimates.stored import estimate_run, write_estimates

    try:
        found = estimate_run(run, job.train, result.as_json(), job.reporter.say)
    except KeyboardInterrupt:
        say(f"without standard errors; `vispec params {run.folder}` computes them")
        return None
    write_estimates(run, found)
    return found


def agreed(request: "Request", resume: bool, group: "Group") -> "Run | None":
    """What `unfinished` says on the first process, on every process."""
    from vispec.train.errors import RunError
    from vispec.train.store.run import Run

    folder, problem = None, None
    if group.main:
        try:
            run = unfinished(request, resume)
            folder = None if run is None else str(run.folder)
        except RunError as error:
            problem = str(error)
    folder, problem = group.pick((folder, problem))
    if problem is not None:
        raise RunError(problem)
    return None if folder is None else Run.open(Path(folder), request.trust)


def unfinished(request: "Request", resume: bool) -> "Run | None":
    """The run to resume, or None for a new one; RunError where a new one would overwrite an old one."""
    from vispec.train.errors import RunError
    from vispec.train.store.run import Run, latest_folder, unused

    folder = request.out or (latest_folder(request.root, request.source.name) if resume else None)
    begun = folder is not None and (folder / "config.json").exists()
    if folder is None or not begun:
        if request.out is not None and request.out.exists() and not request.out.is_dir():
            raise RunError(f"{request.out} is a file; --out names a folder")
        return None
    if not resume:
        unused(folder)
    request.claim.take(folder)
    return Run.open(folder, request.trust)


def resume_command(request: "Request", run: "Run") -> str:
    """What to type to go on with a run."""
    words = ["vispec", "fit", request.source.name, *request.data]
    words += [word for path in request.valid for word in ("--valid", path)]
    return shlex.join([*words, "--out", str(run.folder), "--resume"])


def last_result(run: "Run") -> dict[str, Any]:
    """The result of a finished run, from its metrics."""
    from vispec.train.errors import RunError
    from vispec.train.store.metrics import FILE, read_metrics

    line = next((line for line in reversed(read_metrics(run.folder, run.trust)) if line["event"] == "end"), None)
    if line is None:
        raise RunError(f"{run.folder / FILE} has lost the result of this fit; `vispec eval` computes it")
    return {key: value for key, value in line.items() if key != "event"}


def report(run: "Run", result: dict[str, Any], as_json: bool) -> None:
    """The result on standard output."""
    if as_json:
        click.echo(dump({"run": str(run.folder), **result}))
        return
    from vispec.train.estimates.show import body, header
    from vispec.train.estimates.stored import read_estimates
    from vispec.train.scores.diagnostics import described

    for name in ("train", "valid"):
        score = result[name]
        if score is not None:
            click.echo(f"{name}: {summary(score, name == 'train')}")
            for line in described(score["diagnostics"]) if score.get("diagnostics") else ():
                click.echo(f"  {line}")
    found = read_estimates(run)
    told = [line for line in (result.get("text"), *result.get("notes", ())) if line]
    for line in told if found is None else found.notes:
        click.echo(plain(line))
    if found is not None:
        click.echo("\n".join([*header(found, scored=True), "", *body(found, LINES), ""]))
    if "verification" in result:
        click.echo(result["verification"]["text"])
    click.echo(f"run: {run.folder}  (report.html, best.safetensors, module.py)")


def summary(score: dict[str, Any], training: bool) -> str:
    """One line of a score: of training data what the fit maximised, of others what they are worth given what rows share."""
    from vispec.train.scores.final import kind_of, subtracted

    key, kind, rest = "log_prob", "log-probability", ""
    if training and score.get("evidence_bound") is not None:
        key, kind, rest = "evidence_bound", "bound", f", with {subtracted(score)}"
    elif score["bound"] in ("expected", "predictive"):
        kind = kind_of(score)
    elif not score["exact"]:
        kind = "bound"
    kind += "" if score["exact"] else f" ({score['estimator']})"
    return f"{kind} {score[key]:z.2f} nats, {score[f'{key}_per_row']:z.4f} per row{rest}"


ENTRY = Command("fit", fit)
